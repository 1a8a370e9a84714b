package sshexec

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/signame"
)

// terminalOf returns the terminal for a command, or nil.
func terminalOf(c wsep.Command) *terminal {
	if !c.TTY {
		return nil
	}
	t := &terminal{Type: "xterm-256color", Rows: 24, Cols: 80, Modes: terminalModes}
	for _, variable := range c.Env {
		if kind, ok := strings.CutPrefix(variable, "TERM="); ok {
			t.Type = kind
		}
	}
	if c.Rows > 0 {
		t.Rows = uint32(c.Rows)
	}
	if c.Cols > 0 {
		t.Cols = uint32(c.Cols)
	}
	return t
}

// terminalModes are the modes that a terminal does not take from the host: a number and its value, and the end of the
// list (RFC 4254 section 8). 42 is IUTF8: its input is UTF-8 (RFC 8160).
const terminalModes = "\x2a\x00\x00\x00\x01" + "\x00"

// awaitStart waits until the host says that the command starts, and returns its process ID. See start.sh.
func awaitStart(c wsep.Command, m mark, ch *channel, stdout *output) (pid int, err error) {
	report, err := stdout.line(m)
	if err != nil {
		return 0, noStart(ch, stdout, err)
	}
	word, rest, _ := strings.Cut(report, " ")
	if word == "ok" {
		pid, err = strconv.Atoi(rest)
	}
	if word != "ok" || err != nil || pid <= 1 {
		return 0, &wsep.StartError{Err: reasonError(c, rest)}
	}
	return pid, nil
}

// noStart returns the error of a command that the host did not start. It has the output of the login's shell.
func noStart(ch *channel, stdout *output, err error) error {
	if err != io.EOF {
		return lost(err)
	}
	complaint, _ := io.ReadAll(io.LimitReader(ch.Stderr(), maxNoise))
	<-ch.exited
	if errors.Is(ch.result, wsep.ErrDisconnected) {
		return ch.result
	}
	text := strings.TrimSpace(string(stdout.rest) + string(complaint))
	err = xerrors.Errorf("login's shell ended (%v) before the command started: %q", ch.result, text)
	return &wsep.StartError{Err: err}
}

// process is a command that an SSH host runs.
type process struct {
	ch             *channel
	guard          *guard
	pid            int
	tty            bool
	stdin          io.WriteCloser
	stdout, stderr *output

	exited chan struct{} // closed when result is set
	result error

	mu     sync.Mutex  // guards what follows
	ending bool        // the process is being ended
	cause  error       // the context's error, if it ended while the process ran
	unbind func() bool // detaches the process from its context
}

func newProcess(c wsep.Command, m mark, pid int, ch *channel, stdout *output, g *guard) *process {
	p := &process{
		ch:     ch,
		guard:  g,
		pid:    pid,
		tty:    c.TTY,
		stdin:  noStdin{},
		stdout: stdout,
		stderr: &output{r: ch.Stderr(), ch: ch},
		exited: make(chan struct{}),
	}
	if c.Stdin {
		p.stdin = newStdin(ch, c.TTY)
	}
	if !c.TTY {
		p.stderr.skip = m
	}
	return p
}

// bind ends the process when its context ends.
func (p *process) bind(ctx context.Context) {
	p.unbind = context.AfterFunc(ctx, func() { p.contextEnded(ctx.Err()) })
	// Ends when the session is closed or dropped.
	go p.follow()
}

// follow waits until the command exits, and then until its session is closed.
func (p *process) follow() {
	select {
	case <-p.ch.exited:
		p.setResult(p.ch.result)
	case <-p.ch.dropped:
		p.setResult(lost(errDropped))
	}
	p.awaitClose()
	p.unbind()
}

func (p *process) awaitClose() {
	select {
	case <-p.ch.closed:
	case <-p.ch.dropped:
	}
}

// guarded has the warden end the command when the connection is lost. It returns when nothing of the command is left.
func (p *process) guarded() {
	p.guard.watch(p)
	select {
	case <-p.ch.exited:
	case <-p.ch.dropped:
	}
	p.guard.reaped(p)
	p.awaitClose()
	p.guard.done(p)
}

func (p *process) setResult(result error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result = result
	if p.cause != nil && (result == nil || isClosed(p.ch.dropped)) {
		// It was ended. Its exit code may still be 0.
		p.result = xerrors.Errorf("process ended with its context: %w", p.cause)
	}
	close(p.exited)
}

// endTimeout is how long the end of a command may take. A running warden needs less.
const endTimeout = 4 * time.Second

// contextEnded ends the process. It kills the process at once if Close has been called already. Then it drops the
// session.
func (p *process) contextEnded(cause error) {
	p.mu.Lock()
	if !isClosed(p.exited) {
		p.cause = cause
	}
	how := "cancel"
	if p.ending {
		how = "kill"
	}
	p.ending = true
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	p.end(ctx, how)
	select {
	case <-p.exited:
	case <-ctx.Done():
	}
	p.ch.drop()
}

// end has the warden end the process's group, and waits for that until the context ends. The order is given in any
// case. It may take longer than the context if a warden has to be started first.
func (p *process) end(ctx context.Context, how string) {
	reaped := ""
	if isClosed(p.ch.exited) {
		reaped = "reaped"
	}
	ended := make(chan struct{})
	// Ends when the group has been ended, at the latest when the connection is closed or no warden can be started.
	go func() {
		defer close(ended)
		_, _ = p.guard.ask(context.Background(), "end", strconv.Itoa(p.pid), how, reaped)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// Close implements wsep.Process.
func (p *process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending || isClosed(p.ch.closed) {
		return nil
	}
	p.ending = true
	exited := isClosed(p.ch.exited)
	// Ends when the group has been ended, at the latest after endTimeout.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		p.end(ctx, "close")
		if exited {
			p.ch.drop() // A process outside the group holds the output.
		}
	}()
	return nil
}

// Signal implements wsep.Signaler.
func (p *process) Signal(ctx context.Context, signal string) error {
	if !signame.Known(signal) {
		return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
	}
	if isClosed(p.exited) {
		return doneError(p.result)
	}
	answer, err := p.guard.ask(ctx, "signal", strconv.Itoa(p.pid), signal, otherNames[signal])
	switch {
	case answer == "ok":
		return nil
	case answer == "unknown":
		return xerrors.Errorf("host does not know signal %s: %w", signal, errors.ErrUnsupported)
	case answer == "exited":
		return errProcessDone
	case isClosed(p.exited):
		return doneError(p.result)
	}
	return xerrors.Errorf("signal %s: %w", signal, err)
}

// otherNames maps the name of a signal with two names to the other one (signal(7)). A shell may know only one of them.
var otherNames = map[string]string{"POLL": "IO", "IO": "POLL", "CLD": "CHLD", "IOT": "ABRT"}

var errProcessDone = xerrors.Errorf("process has ended: %w", os.ErrProcessDone)

// doneError returns why nothing can be asked any more of a process with the result. If the connection was lost, the process may
// still run.
func doneError(result error) error {
	if errors.Is(result, wsep.ErrDisconnected) {
		return result
	}
	return errProcessDone
}

// Resize implements wsep.Process.
func (p *process) Resize(ctx context.Context, rows, cols uint16) error {
	if !p.tty {
		return nil
	}
	size := struct{ Cols, Rows, Width, Height uint32 }{Cols: uint32(cols), Rows: uint32(rows)}
	sent := make(chan error, 1)
	// Ends when the request is sent, at the latest when the connection is closed.
	go func() {
		_, err := p.ch.SendRequest("window-change", false, ssh.Marshal(size))
		sent <- err
	}()
	select {
	case err := <-sent:
		switch {
		case err == nil:
			return nil
		case isClosed(p.exited):
			return doneError(p.result)
		}
		return lost(xerrors.Errorf("resize terminal: %w", err))
	case <-p.exited:
		return doneError(p.result)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pid implements wsep.Process.
func (p *process) Pid() int { return p.pid }

// Stdin implements wsep.Process.
func (p *process) Stdin() io.WriteCloser { return p.stdin }

// Stdout implements wsep.Process.
func (p *process) Stdout() io.Reader { return p.stdout }

// Stderr implements wsep.Process.
func (p *process) Stderr() io.Reader { return p.stderr }

// Wait implements wsep.Process.
func (p *process) Wait() error {
	<-p.exited
	return p.result
}

// Exited returns a channel that is closed when Wait has its result. Output may still come after that.
func (p *process) Exited() <-chan struct{} { return p.exited }
