//go:build !windows

package wsep

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/xerrors"
)

// localProcess is a process of this machine.
type localProcess struct {
	cmd       *exec.Cmd
	exit      *exitWatch
	killDelay time.Duration

	stdin          localStdin // nil without Command.Stdin
	stdout, stderr *localOutput
	tty            *terminal // nil without a terminal

	exited chan struct{} // closed when the process has been reaped
	done   chan struct{} // closed after that, when result is set and what nobody else holds is closed
	result error

	gone chan struct{} // closed when the process has been made to end and nothing is left of its group

	mu       sync.Mutex // guards what follows
	ending   bool       // the process has been asked to end
	hungUp   bool       // its terminal has been hung up, after that
	killed   bool       // its group has been killed, after that
	closed   bool       // Close has been called when it had ended
	canceled bool       // the context has ended
	cause    error      // the end of the context, if the process was running then
	open     int        // outputs that have not ended
	reaped   bool
	unbind   func() bool // detaches the process from its context
	limit    *time.Timer // ends the outputs of a process that has ended; nil without a bound
}

func (l LocalExecer) start(ctx context.Context, c Command) (Process, error) {
	cred, userEnv, err := credential(c.UID, c.GID)
	if err != nil {
		return nil, err
	}
	cmd, err := l.command(c, userEnv)
	if err != nil {
		return nil, missingProgram(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	p := &localProcess{
		cmd:       cmd,
		exit:      newExitWatch(cmd),
		killDelay: l.killDelay(),
		exited:    make(chan struct{}),
		done:      make(chan struct{}),
		gone:      make(chan struct{}),
		open:      2,
	}
	if c.TTY {
		err = p.startTerminal(c)
	} else {
		err = p.startPipes(c)
	}
	if err != nil {
		return nil, missingProgram(err)
	}
	cmd.Args, cmd.Env = nil, nil // They are not small, and processes may live long.
	if l.ChildProcessPriority != nil {
		// The group, for the case that the process has forked already.
		_ = syscall.Setpriority(syscall.PRIO_PGRP, p.Pid(), *l.ChildProcessPriority)
	}
	p.stdout.ended, p.stderr.ended = p.outputEnded, p.outputEnded
	if p.tty != nil {
		p.outputEnded() // A terminal has no stderr.
	}
	p.bind(ctx)
	p.exit.whenExited(func() { p.reap(l.WaitDelay) })
	return p, nil
}

const defaultKillDelay = time.Second

func (l LocalExecer) killDelay() time.Duration {
	if l.KillDelay <= 0 {
		return defaultKillDelay
	}
	return l.KillDelay
}

// missingProgram makes a missing program match exec.ErrNotFound and fs.ErrNotExist alike, whether it was named by a path
// or not found in PATH.
func missingProgram(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok && path.Op == "fork/exec" && errors.Is(err, os.ErrNotExist) {
		return &exec.Error{Name: path.Path, Err: notFoundError{path.Err}}
	}
	if errors.Is(err, exec.ErrNotFound) {
		return notFoundError{err}
	}
	return err
}

type notFoundError struct{ error }

func (e notFoundError) Unwrap() error { return e.error }

func (e notFoundError) Is(target error) bool {
	return target == exec.ErrNotFound || target == os.ErrNotExist
}

// startPipes starts the process with a pipe for each stream.
func (p *localProcess) startPipes(c Command) (err error) {
	var files []*os.File // the child's ends, and ours too if the start fails
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err != nil {
			err = xerrors.Errorf("create pipe: %w", err)
			return nil, nil
		}
		return r, w
	}
	outR, outW := pipe()
	errR, errW := pipe()
	files = append(files, outW, errW)
	ours := []*os.File{outR, errR}
	if c.Stdin {
		inR, inW := pipe()
		p.cmd.Stdin = inR
		p.stdin = newPipeStdin(inW, p.exited)
		files, ours = append(files, inR), append(ours, inW)
	}
	if err == nil {
		p.cmd.Stdout, p.cmd.Stderr = outW, errW
		p.cmd.SysProcAttr.Setpgid = true
		err = startCommand(p.cmd)
	}
	closeAll(files)
	if err != nil {
		closeAll(ours)
		return err
	}
	p.stdout, p.stderr = newLocalOutput(outR), newLocalOutput(errR)
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// startTerminal starts the process in a terminal of its own.
func (p *localProcess) startTerminal(c Command) error {
	rows, cols := c.size()
	t, child, err := openTerminal(rows, cols, p.cmd.SysProcAttr.Credential)
	if err != nil {
		return xerrors.Errorf("open terminal: %w", err)
	}
	defer child.Close()
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = child, child, child
	p.cmd.SysProcAttr.Setsid = true
	p.cmd.SysProcAttr.Setctty = true
	if err := startCommand(p.cmd); err != nil {
		_ = t.f.Close()
		return err
	}
	p.tty = t
	if c.Stdin {
		p.stdin = &terminalStdin{t: t, nowait: newNowait(t.f), process: p.exited}
	}
	p.stdout, p.stderr = newLocalOutput(t.f), newLocalOutput(nil)
	p.stdout.process = p.exited
	return nil
}

// bind makes the process end with its context.
func (p *localProcess) bind(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unbind = context.AfterFunc(ctx, func() { p.contextEnded(ctx.Err()) })
	p.unbindIfOver()
}

// reap waits for the process and sees to its outputs.
func (p *localProcess) reap(waitDelay time.Duration) {
	p.result = exitResult(p.cmd.Wait())
	p.mu.Lock()
	p.reaped = true
	if p.result == nil && p.cause != nil {
		// It was made to end, however well it took that.
		p.result = xerrors.Errorf("process ended with its context: %w", p.cause)
	}
	p.mu.Unlock()
	close(p.exited)
	defer close(p.done) // Whoever has waited finds the descriptors closed.
	if p.stdin != nil {
		p.stdin.end()
	}
	p.stdout.settle()
	p.stderr.settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	if waitDelay > 0 {
		p.limit = time.AfterFunc(waitDelay, p.endOutputs)
	}
	p.unbindIfOver()
}

// endOutputs ends the outputs, whoever holds them.
func (p *localProcess) endOutputs() {
	p.stdout.end()
	p.stderr.end()
}

// outputEnded counts an output that has ended.
func (p *localProcess) outputEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.unbindIfOver()
}

// unbindIfOver detaches the process from its context, and stops the clock, when nothing of it is left. The lock is held.
func (p *localProcess) unbindIfOver() {
	if !p.over() {
		return
	}
	if p.unbind != nil {
		p.unbind()
	}
	if p.limit != nil {
		p.limit.Stop()
	}
}

// over reports whether nothing is left of the process: it has been reaped, and nobody holds its outputs. The lock is
// held.
func (p *localProcess) over() bool { return p.reaped && p.open == 0 }

// exitResult returns what Wait returns for the error of exec.Cmd's.
func exitResult(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	result := ExitError{code: exit.ExitCode(), error: exit.Error()}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		result.signal = strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
	}
	return result
}

// Pid implements Process.
func (p *localProcess) Pid() int { return p.cmd.Process.Pid }

// Stdin implements Process.
func (p *localProcess) Stdin() io.WriteCloser {
	if p.stdin == nil {
		return disabledStdin{}
	}
	return p.stdin
}

// Stdout implements Process.
func (p *localProcess) Stdout() io.Reader { return p.stdout }

// Stderr implements Process.
func (p *localProcess) Stderr() io.Reader { return p.stderr }

// Exited implements [Exiter].
func (p *localProcess) Exited() <-chan struct{} { return p.done }

func (p *localProcess) endDelay() time.Duration { return p.killDelay }

// Wait implements Process.
func (p *localProcess) Wait() error {
	<-p.done
	return p.result
}

// awaitGroup waits until nothing is left of a process whose context has ended, or it has had its time.
func (p *localProcess) awaitGroup() {
	p.mu.Lock()
	gone := p.over() && !p.ending // It has been detached from its context.
	p.mu.Unlock()
	if !gone {
		<-p.gone
	}
}

// Resize implements Process.
func (p *localProcess) Resize(_ context.Context, rows, cols uint16) error {
	if p.tty == nil {
		return nil
	}
	return p.tty.resize(rows, cols)
}

// Signal implements Signaler.
func (p *localProcess) Signal(_ context.Context, signal string) error {
	sig := unix.SignalNum("SIG" + signal)
	if sig == 0 {
		return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return errProcessDone
	}
	if err := syscall.Kill(-p.Pid(), sig); err != nil {
		return xerrors.Errorf("signal %s: %w", signal, err)
	}
	return nil
}

// Close implements Process.
func (p *localProcess) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over() {
		return nil
	}
	p.closed = p.closed || p.reaped
	if p.ending {
		if isClosed(p.gone) {
			p.letGo()
		}
		return nil
	}
	p.ending = true
	p.signalGroups(syscall.SIGTERM)
	p.signalGroups(syscall.SIGCONT) // A stopped process takes no signal before.
	go p.seeOff()
	return nil
}

// contextEnded ends the process: gently, unless Close has been called already. What is left of it after that, held
// output and unread output, is let go.
func (p *localProcess) contextEnded(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.cause = cause
	}
	p.canceled = true
	switch {
	case p.over() && !p.ending:
		close(p.gone)
	case p.ending:
		p.kill()
		p.letGo()
	default:
		p.ending = true
		p.signalGroups(syscall.SIGTERM)
		if p.tty != nil {
			p.signalGroups(syscall.SIGHUP)
		}
		p.signalGroups(syscall.SIGCONT)
		go p.seeOff()
	}
}

// seeOffInterval is how often an ending process's group is looked at. There is nothing to wait on for a group.
const seeOffInterval = 10 * time.Millisecond

// seeOff waits until a process that has been asked to end is gone with its whole group, and kills what is not when its time
// is up. It ends soon after that.
func (p *localProcess) seeOff() {
	ticker := time.NewTicker(seeOffInterval)
	defer ticker.Stop()
	limit := 2 * p.killDelay
	for began := time.Now(); ; <-ticker.C {
		p.mu.Lock()
		left := !p.reaped || p.groupExists()
		waited := time.Since(began)
		switch {
		case !left || p.killed && waited > limit:
			p.letGo()
			close(p.gone)
			p.mu.Unlock()
			return
		case waited > p.killDelay && !p.killed:
			p.kill()
			limit = waited + p.killDelay // A look may come late.
		case waited > p.killDelay/2 && p.tty != nil && !p.hungUp:
			// Later than SIGTERM, so that a shell that traps it can act on it. A shell that does not ignores it, and ends now.
			p.hungUp = true
			p.signalGroups(syscall.SIGHUP)
		}
		p.mu.Unlock()
	}
}

// kill ends the process's groups. The lock is held.
func (p *localProcess) kill() {
	if p.killed {
		return
	}
	p.killed = true
	p.signalGroups(syscall.SIGKILL)
}

// letGo ends the outputs that processes outside of the group may hold, if nobody waits for what is still to come. The lock
// is held.
func (p *localProcess) letGo() {
	switch {
	case p.canceled:
		p.drop()
	case p.closed:
		go p.endOutputs()
	}
}

// drop closes all pipes. What has not been read is lost. The lock is held.
func (p *localProcess) drop() {
	go p.stdout.close()
	go p.stderr.close()
	if closer, ok := p.stdin.(*pipeStdin); ok {
		go closer.Close()
	}
}

// signalGroups signals the process's group and, in a terminal, the one in the foreground. The lock is held.
func (p *localProcess) signalGroups(sig syscall.Signal) {
	pid := p.Pid()
	if p.tty != nil {
		if fg := p.tty.foreground(); fg > 0 && fg != pid {
			_ = syscall.Kill(-fg, sig)
		}
	}
	if p.groupExists() {
		_ = syscall.Kill(-pid, sig)
	}
}

// groupExists reports whether anything is left of the process's group. The lock is held.
func (p *localProcess) groupExists() bool {
	pid := p.Pid()
	if p.reaped && syscall.Kill(pid, 0) == nil {
		// The number is in use again, which takes an empty group: what there is now is somebody else's.
		return false
	}
	return syscall.Kill(-pid, 0) == nil
}
