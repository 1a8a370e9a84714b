package wsep

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/windows"
	"golang.org/x/xerrors"
)

// localProcess is a process of this machine.
type localProcess struct {
	process   *os.Process
	killDelay time.Duration

	stdin          io.WriteCloser
	input          *localStdin // the pipe behind stdin; nil without one
	stdout, stderr *localOutput
	console        *console // nil without a terminal

	exited   chan struct{} // closed when the process has exited
	done     chan struct{} // closed after exited: result is set, and handles that no other process holds are closed
	finished chan struct{} // closed when nothing of the process is left
	result   error

	mu        sync.Mutex // guards what follows
	job       job        // closed with finished
	asked     string     // the last signal that asked the process to exit
	ending    bool       // the process has been asked to exit by Close or its context
	killed    bool       // the job has been terminated
	canceled  bool       // the context has ended
	cause     error      // the context's error, if the process was running when the context ended
	open      int        // the number of outputs that have not ended
	reaped    bool
	unbind    func() bool // unbinds the process from its context
	killLimit *time.Timer // terminates the job of a process that has been asked to exit
	waitLimit *time.Timer // ends the outputs of an exited process; nil without WaitDelay
}

func (l LocalExecer) start(ctx context.Context, c Command) (Process, error) {
	if c.UID != 0 || c.GID != 0 {
		return nil, xerrors.Errorf("run as another user: %w", errors.ErrUnsupported)
	}
	for _, text := range slices.Concat([]string{c.Command, c.WorkingDir}, c.Args, c.Env) {
		if !utf8.ValidString(text) {
			return nil, xerrors.Errorf("%q is not UTF-8, and the system has only Unicode: %w", text, ErrInvalidCommand)
		}
	}
	cmd, err := l.command(c, nil)
	if err != nil {
		return nil, startReason(err)
	}
	if err := prepareCommand(cmd); err != nil {
		return nil, startReason(err)
	}
	p := &localProcess{
		killDelay: l.killDelay(),
		stdin:     disabledStdin{},
		exited:    make(chan struct{}),
		done:      make(chan struct{}),
		finished:  make(chan struct{}),
		open:      2,
	}
	if p.job, err = newJob(); err != nil {
		return nil, err
	}
	wait, err := p.startIn(cmd, c)
	if err != nil {
		p.job.close()
		return nil, startReason(err)
	}
	p.stdout.ended, p.stderr.ended = p.outputEnded, p.outputEnded
	if p.console != nil {
		p.outputEnded() // A terminal has no stderr.
	}
	p.bind(ctx)
	// Ends when the process has exited and its terminal is closed.
	go p.reap(wait, l.WaitDelay)
	return p, nil
}

// startIn starts the command in a terminal or with pipes. wait waits for its exit.
func (p *localProcess) startIn(cmd *exec.Cmd, c Command) (wait func() (*os.ProcessState, error), err error) {
	if c.TTY {
		err = p.startConsole(cmd, c)
		return func() (*os.ProcessState, error) { return p.process.Wait() }, err
	}
	err = p.startPipes(cmd, c)
	return func() (*os.ProcessState, error) {
		err := cmd.Wait()
		if _, ok := errors.AsType[*exec.ExitError](err); ok {
			err = nil
		}
		return cmd.ProcessState, err
	}, err
}

// startPipes starts the process with a pipe for each stream.
func (p *localProcess) startPipes(cmd *exec.Cmd, c Command) (err error) {
	var files []*os.File // the child's ends; closed after the start
	var ours []*os.File
	pipe := func(write bool) (our, child *os.File) {
		var h windows.Handle
		if err == nil {
			our, h, err = newPipe(write)
		}
		if err != nil {
			return nil, nil
		}
		child = os.NewFile(uintptr(h), our.Name())
		ours, files = append(ours, our), append(files, child)
		return our, child
	}
	out, outChild := pipe(false)
	errOut, errChild := pipe(false)
	if c.Stdin {
		in, inChild := pipe(true)
		cmd.Stdin = inChild
		p.input = &localStdin{f: in, process: p.exited}
		p.stdin = p.input
	}
	if err == nil {
		cmd.Stdout, cmd.Stderr = outChild, errChild
		cmd.SysProcAttr.CreationFlags |= windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_SUSPENDED
		if !hasConsole() {
			cmd.SysProcAttr.CreationFlags |= windows.CREATE_NO_WINDOW
		}
		err = p.job.start(cmd)
	}
	closeAll(files)
	if err != nil {
		closeAll(ours)
		return err
	}
	p.process, p.stdout, p.stderr = cmd.Process, newLocalOutput(out), newLocalOutput(errOut)
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// hasConsole reports whether this process has a console. A command without a terminal shares it, so that this process can
// ask the command to exit.
func hasConsole() bool {
	_, err := windows.GetConsoleCP()
	return err == nil
}

// bind makes the process end with its context.
func (p *localProcess) bind(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unbind = context.AfterFunc(ctx, func() { p.contextEnded(ctx.Err()) })
}

// reap waits for the exit, and closes the outputs that no other process holds.
func (p *localProcess) reap(wait func() (*os.ProcessState, error), waitDelay time.Duration) {
	state, err := wait()
	p.mu.Lock()
	p.reaped = true
	p.result = p.resultOf(state, err)
	canceled := p.canceled
	p.mu.Unlock()
	close(p.exited)
	defer close(p.done) // After Wait the handles are closed.
	if p.console == nil {
		p.closeInput()
	}
	p.settleOutputs(canceled)
	p.closeInput() // Under Wine, a console whose input ends at the same time as its programs may hang.
	p.mu.Lock()
	defer p.mu.Unlock()
	if waitDelay > 0 && p.open > 0 {
		p.waitLimit = time.AfterFunc(waitDelay, p.endOutputs)
	}
	p.finishIfDone()
}

// settleOutputs ends the outputs of an exited process, except those that other processes hold.
func (p *localProcess) settleOutputs(canceled bool) {
	if canceled {
		p.drop()
	}
	if p.console != nil {
		p.settleConsole()
		return
	}
	p.stdout.drain()
	p.stderr.drain()
}

// consoleDelay is how long the system has to end a console's output when no process uses the console any more.
const consoleDelay = 10 * time.Second

// settleConsole closes the terminal, which writes the last of its output, and reads that. Another process that still uses the
// terminal is asked to exit by this, and killed after the delay. If the system does not end the output then, this does.
func (p *localProcess) settleConsole() {
	p.console.hangUp()
	kill := time.AfterFunc(p.killDelay, p.kill)
	defer kill.Stop()
	if p.stdout.drainToEnd(p.killDelay + consoleDelay) {
		p.console.awaitClosed(consoleDelay)
	}
}

// resultOf returns the result of Wait. The lock is held.
func (p *localProcess) resultOf(state *os.ProcessState, err error) error {
	if err != nil {
		return err
	}
	code := uint32(state.ExitCode())
	switch {
	case code == 0 && p.cause != nil:
		// The context ended the process, even if it then exited with code 0.
		return xerrors.Errorf("process ended with its context: %w", p.cause)
	case code == 0:
		return nil
	case code == killedCode && p.killed:
		return NewSignalError("KILL", "signal: killed")
	case code == uint32(windows.STATUS_CONTROL_C_EXIT) && p.asked == "TERM":
		return NewSignalError("TERM", "signal: terminated")
	case code == uint32(windows.STATUS_CONTROL_C_EXIT):
		return NewSignalError("INT", "signal: interrupt")
	}
	return ExitError{code: state.ExitCode(), error: state.String()}
}

// endOutputs ends the outputs, even if another process holds them.
func (p *localProcess) endOutputs() {
	p.stdout.end()
	p.stderr.end()
}

// outputEnded counts one output that has ended.
func (p *localProcess) outputEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.finishIfDone()
}

// finishIfDone ends what the process has left behind, once its outputs have ended. The lock is held.
func (p *localProcess) finishIfDone() {
	if !p.isDone() || isClosed(p.finished) {
		return
	}
	for _, t := range []*time.Timer{p.killLimit, p.waitLimit} {
		if t != nil {
			t.Stop()
		}
	}
	p.unbind()
	p.job.close()
	close(p.finished)
}

// isDone reports whether the process has exited, and its outputs have ended. The lock is held.
func (p *localProcess) isDone() bool { return p.reaped && p.open == 0 }

// Pid implements Process.
func (p *localProcess) Pid() int { return p.process.Pid }

// Stdin implements Process.
func (p *localProcess) Stdin() io.WriteCloser { return p.stdin }

// Stdout implements Process.
func (p *localProcess) Stdout() io.Reader { return p.stdout }

// Stderr implements Process.
func (p *localProcess) Stderr() io.Reader { return p.stderr }

// Wait implements Process.
func (p *localProcess) Wait() error {
	<-p.done
	return p.result
}

// Exited implements [Exiter].
func (p *localProcess) Exited() <-chan struct{} { return p.done }

func (p *localProcess) endDelay() time.Duration { return p.killDelay }

// awaitGroup waits until nothing of the process is left. The process's context has ended.
func (p *localProcess) awaitGroup() { <-p.finished }

// Resize implements Process.
func (p *localProcess) Resize(_ context.Context, rows, cols uint16) error {
	if p.console == nil {
		return nil
	}
	return p.console.resize(rows, cols)
}
