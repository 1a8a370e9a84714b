package wsep

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/xerrors"
)

// killedCode is the exit code of a process that this package terminates. Bit 29 marks codes that are not the system's
// (SetLastError in the Windows API), 9 is SIGKILL's number.
const killedCode = 0xE000_0009

// Close implements Process.
func (p *localProcess) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isDone() && !p.ending {
		p.askToEnd()
	}
	return nil
}

// contextEnded ends the process. If Close has already been called, or the process has exited, it kills what is left at once.
// Unread output is dropped.
func (p *localProcess) contextEnded(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.canceled = true
	switch {
	case p.isDone():
	case p.reaped:
		p.terminate()
		p.drop()
	case p.ending:
		p.cause = cause
		p.terminate()
	default:
		p.cause = cause
		p.askToEnd()
	}
}

// askToEnd asks the process to exit, and kills it after the delay. If it can't be asked it is killed at once. The lock is
// held.
func (p *localProcess) askToEnd() {
	p.ending = true
	if p.reaped || p.ask("TERM") != nil {
		p.terminate()
		return
	}
	p.killLimit = time.AfterFunc(p.killDelay, p.kill)
}

// ask asks the process to exit, by Ctrl-Break. The closing of a terminal asks its processes too. The lock is held.
func (p *localProcess) ask(signal string) error {
	p.asked = signal
	switch {
	case p.console != nil:
		p.console.hangUp()
		return nil
	case !hasConsole():
		return xerrors.Errorf("signal %s without a console: %w", signal, errors.ErrUnsupported)
	}
	return p.breakGroup()
}

// breakGroup sends Ctrl-Break to the process's own group. Its Ctrl-C is disabled, its Ctrl-Break is not.
func (p *localProcess) breakGroup() (err error) {
	// As long as the handle is open, no other process has the number.
	if p.process.WithHandle(func(uintptr) { err = sendCtrlBreak(uint32(p.Pid())) }) != nil {
		return errProcessDone
	}
	return err
}

// sendCtrlBreak sends Ctrl-Break to a process group. Tests replace it, because Wine 8 has not implemented it.
var sendCtrlBreak = func(group uint32) error {
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, group)
}

// kill is terminate without the lock.
func (p *localProcess) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.terminate()
}

// terminate kills the process and all that it has started. The lock is held.
func (p *localProcess) terminate() {
	if !p.killed && !isClosed(p.finished) {
		p.killed = true
		p.job.terminate()
	}
}

// drop ends the streams. Unread output is lost.
func (p *localProcess) drop() {
	// Each ends at once: close interrupts a waiting read.
	go p.stdout.close()
	go p.stderr.close()
	p.closeInput()
}

func (p *localProcess) closeInput() {
	if p.input != nil {
		_ = p.input.Close()
	}
}

// Signal implements Signaler. INT and TERM are Ctrl-Break. In a terminal INT is Ctrl-C, and TERM closes the terminal. KILL
// kills the process and all that it has started. There are no others.
func (p *localProcess) Signal(_ context.Context, signal string) error {
	var err error
	switch {
	case signal != "INT" && signal != "TERM" && signal != "KILL":
		err = errors.ErrUnsupported
	case isClosed(p.exited):
		return errProcessDone
	case signal == "INT" && p.console != nil:
		err = p.console.interrupt() // It may wait, and so must not hold the lock.
	default:
		err = p.signal(signal)
	}
	if err != nil {
		return xerrors.Errorf("signal %q: %w", signal, err)
	}
	return nil
}

func (p *localProcess) signal(signal string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.reaped:
		return errProcessDone
	case signal == "KILL":
		p.terminate()
		return nil
	}
	return p.ask(signal)
}
