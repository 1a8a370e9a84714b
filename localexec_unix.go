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
	killDelay time.Duration

	stdin          localStdin // nil without Command.Stdin
	stdout, stderr *localOutput
	tty            *terminal // nil without a terminal

	exited chan struct{} // closed when the process has been reaped
	done   chan struct{} // closed after exited: result is set, and descriptors that no other process holds are closed
	result error

	groupDone chan struct{} // closed when an ended process has no process left in its group, or its time is up

	mu       sync.Mutex // guards what follows
	ending   bool       // the process has been asked to exit
	hungUp   bool       // then its terminal has been hung up
	killed   bool       // then its group has been killed
	closed   bool       // Close has been called after the exit
	canceled bool       // the context has ended
	cause    error      // the context's error, if the process was running when the context ended
	open     int        // the number of outputs that have not ended
	reaped   bool
	unbind   func() bool // unbinds the process from its context
	limit    *time.Timer // ends the outputs of an exited process; nil without WaitDelay
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
		killDelay: l.killDelay(),
		exited:    make(chan struct{}),
		done:      make(chan struct{}),
		groupDone: make(chan struct{}),
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
	cmd.Args, cmd.Env = nil, nil // They take memory, and processes may live long.
	if l.ChildProcessPriority != nil {
		// The whole group, since the process may have forked already.
		_ = syscall.Setpriority(syscall.PRIO_PGRP, p.Pid(), *l.ChildProcessPriority)
	}
	p.stdout.ended, p.stderr.ended = p.outputEnded, p.outputEnded
	if p.tty != nil {
		p.outputEnded() // A terminal has no stderr.
	}
	p.bind(ctx)
	whenExited(cmd.Process, func() { p.reap(l.WaitDelay) })
	return p, nil
}

// missingProgram makes the error of a missing program match exec.ErrNotFound and fs.ErrNotExist, whether the program is a
// path or a name that is not in PATH.
func missingProgram(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok && path.Op == "fork/exec" && errors.Is(err, os.ErrNotExist) {
		return &exec.Error{Name: path.Path, Err: notFoundError{path.Err}}
	}
	if errors.Is(err, exec.ErrNotFound) {
		return notFoundError{err}
	}
	return err
}

// startPipes starts the process with a pipe for each stream.
func (p *localProcess) startPipes(c Command) (err error) {
	var files []*os.File // the child's ends; closed after the start
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
	p.unbindIfDone()
}

// reap waits for the exit and closes the outputs that no other process holds.
func (p *localProcess) reap(waitDelay time.Duration) {
	p.result = exitResult(p.cmd.Wait())
	p.mu.Lock()
	p.reaped = true
	if p.result == nil && p.cause != nil {
		// The context ended the process, even if it then exited with code 0.
		p.result = xerrors.Errorf("process ended with its context: %w", p.cause)
	}
	p.mu.Unlock()
	close(p.exited)
	defer close(p.done) // After Wait the descriptors are closed.
	if p.stdin != nil {
		p.stdin.end()
	}
	p.stdout.drain()
	p.stderr.drain()
	p.mu.Lock()
	defer p.mu.Unlock()
	if waitDelay > 0 {
		p.limit = time.AfterFunc(waitDelay, p.endOutputs)
	}
	p.unbindIfDone()
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
	p.unbindIfDone()
}

// unbindIfDone unbinds the process from its context and stops the timer, if nothing of the process is left. The lock is
// held.
func (p *localProcess) unbindIfDone() {
	if !p.isDone() {
		return
	}
	if p.unbind != nil {
		p.unbind()
	}
	if p.limit != nil {
		p.limit.Stop()
	}
}

// isDone reports whether nothing of the process is left: it has been reaped, and its outputs have ended. The lock is held.
func (p *localProcess) isDone() bool { return p.reaped && p.open == 0 }

// exitResult returns what Wait returns for the error of exec.Cmd.Wait.
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
