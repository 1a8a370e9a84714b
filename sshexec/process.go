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

// terminalOf returns the terminal that a command is to have, or nil.
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

// terminalModes are those in which a terminal is to differ from what the host has for it: a number, its value, and the end
// (RFC 4254 section 8). 42 is that its input is UTF-8 (RFC 8160).
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

// noStart returns why the host has not said that the command starts: the login's shell may have something against it.
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

	done   chan struct{} // closed when result is set
	result error

	mu     sync.Mutex  // guards what follows
	ending bool        // it has been asked to end
	cause  error       // the end of the context, if the process was running then
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
		done:   make(chan struct{}),
	}
	if c.Stdin {
		p.stdin = newStdin(ch, c.TTY)
	}
	if !c.TTY {
		p.stderr.skip = m
	}
	return p
}

// bind makes the process end with its context.
func (p *process) bind(ctx context.Context) {
	p.unbind = context.AfterFunc(ctx, func() { p.contextEnded(ctx.Err()) })
	// Ends when the session is closed or dropped.
	go p.follow()
}

// follow waits for the end of the command and then for that of its session.
func (p *process) follow() {
	select {
	case <-p.ch.exited:
		p.finish(p.ch.result)
	case <-p.ch.dropped:
		p.finish(lost(errDropped))
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

// guarded has the host end the command when the connection is lost, until nothing is left of it.
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

func (p *process) finish(result error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result = result
	if p.cause != nil && (result == nil || isClosed(p.ch.dropped)) {
		// It was made to end, however well it took that.
		p.result = xerrors.Errorf("process ended with its context: %w", p.cause)
	}
	close(p.done)
}

// endTimeout is how long a command may take to end when it is ended. A warden that is there needs less.
const endTimeout = 4 * time.Second

// contextEnded ends the process: gently, unless Close has been called already. Its outputs end with it.
func (p *process) contextEnded(cause error) {
	p.mu.Lock()
	if !isClosed(p.done) {
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
	case <-p.done:
	case <-ctx.Done():
	}
	p.ch.drop()
}

// end has the warden end the process's group, and waits for that as long as the context lasts. The order is given in any
// case: a warden that has to be started first may take longer.
func (p *process) end(ctx context.Context, how string) {
	reaped := ""
	if isClosed(p.ch.exited) {
		reaped = "reaped"
	}
	ended := make(chan struct{})
	// Ends when the group has, at the latest with the connection or when no warden can be started.
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
	// Ends when the group has, for which there is a limit.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		p.end(ctx, "close")
		if exited {
			p.ch.drop() // Whoever holds the output is none of the group.
		}
	}()
	return nil
}

// Signal implements wsep.Signaler.
func (p *process) Signal(ctx context.Context, signal string) error {
	if !signame.Known(signal) {
		return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
	}
	if isClosed(p.done) {
		return errProcessDone
	}
	answer, err := p.guard.ask(ctx, "signal", strconv.Itoa(p.pid), signal, otherNames[signal])
	switch {
	case answer == "ok":
		return nil
	case answer == "unknown":
		return xerrors.Errorf("host does not know signal %s: %w", signal, errors.ErrUnsupported)
	case answer == "gone", isClosed(p.done):
		return errProcessDone
	}
	return xerrors.Errorf("signal %s: %w", signal, err)
}

// otherNames are names of signals that have two (signal(7)). A shell may know only one of them.
var otherNames = map[string]string{"POLL": "IO", "IO": "POLL", "CLD": "CHLD", "IOT": "ABRT"}

var errProcessDone = xerrors.Errorf("process has ended: %w", os.ErrProcessDone)

// Resize implements wsep.Process.
func (p *process) Resize(ctx context.Context, rows, cols uint16) error {
	if !p.tty {
		return nil
	}
	size := struct{ Cols, Rows, Width, Height uint32 }{Cols: uint32(cols), Rows: uint32(rows)}
	sent := make(chan error, 1)
	// Ends when the request is sent, at the latest with the connection.
	go func() {
		_, err := p.ch.SendRequest("window-change", false, ssh.Marshal(size))
		sent <- err
	}()
	select {
	case err := <-sent:
		switch {
		case err == nil:
			return nil
		case isClosed(p.done):
			return errProcessDone
		}
		return lost(xerrors.Errorf("resize terminal: %w", err))
	case <-p.done:
		return errProcessDone
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
	<-p.done
	return p.result
}

// Exited returns a channel that is closed when Wait knows how the command ended. Its output may go on.
func (p *process) Exited() <-chan struct{} { return p.done }
