package wsep

import (
	"context"
	"io"
	"math"
	"sync"
	"time"
)

// keptHost is the host of a command without a terminal that outlives its clients: see [Command.Keep]. It reads both outputs all
// the time and keeps the newest bytes of each, so the command never waits for a client. The session stays ready after the
// command's exit, for clients that come later.
type keptHost struct {
	*Session
	process        Process
	cancel         context.CancelFunc // ends the process by force
	input          *sharedInput       // nil if the command has no stdin
	stdout, stderr *keptOutput
	exited         chan struct{} // closed when the process has exited; most often all its output is kept then
	outcome        error         // what the process's Wait returned; set before exited is closed
	ended          chan struct{} // closed after exited, when all output is kept
	over           chan struct{} // closed when nothing is left of the command, or it could not be ended
}

// never is a session timeout that does not end.
const never = time.Duration(math.MaxInt64)

// startKeptHost starts the session's command.
func startKeptHost(s *Session) (sessionHost, error) {
	h := &keptHost{
		Session: s,
		stdout:  &keptOutput{limit: s.keepOutput},
		stderr:  &keptOutput{limit: s.keepOutput},
		exited:  make(chan struct{}),
		ended:   make(chan struct{}),
		over:    make(chan struct{}),
	}
	c := s.command
	c.ID, c.Keep = "", 0
	var err error
	if h.process, h.cancel, err = s.startProcess(c); err != nil {
		return nil, err
	}
	if c.Stdin {
		h.input = newSharedInput(h.process.Stdin())
	}
	s.setTimeout(never)
	var reading sync.WaitGroup
	reading.Add(2)
	whenReady(h.process.Stdout(), func(r io.Reader) { defer reading.Done(); h.stdout.fill(r) })
	whenReady(h.process.Stderr(), func(r io.Reader) { defer reading.Done(); h.stderr.fill(r) })
	read := make(chan struct{})
	// Ends when the outputs have ended.
	go func() { reading.Wait(); close(read) }()
	// Ends when the process has exited and its outputs have ended.
	go h.follow(read)
	return h, nil
}

// follow waits for the exit, and for read, which is closed when the outputs have ended. Another process may hold them open for
// long after the exit.
func (h *keptHost) follow(read <-chan struct{}) {
	if p, ok := processAs[Exiter](h.process); ok {
		<-p.Exited()
		await(read, nil, heldGrace)
	} else {
		<-read
	}
	h.outcome = h.process.Wait()
	if h.input != nil {
		h.input.stop()
	}
	close(h.exited)
	<-read
	h.cancel()
	close(h.ended)
}

// keep implements sessionHost.
func (h *keptHost) keep() {
	defer close(h.over)
	select {
	case <-h.exited:
		h.setTimeout(h.keptFor())
		<-h.closing.Done()
		h.advance(StateClosing, errSessionDone, h.outcome)
	case <-h.closing.Done():
		err := context.Cause(h.closing)
		h.advance(StateClosing, err, err)
	}
	if !isClosed(h.ended) {
		endProcess(h.process, h.cancel, h.ended)
	}
}

// signal implements sessionHost.
func (h *keptHost) signal(ctx context.Context, signal string) error {
	if isClosed(h.exited) {
		return errProcessDone
	}
	return signalProcess(ctx, h.process, signal)
}

// describe implements sessionHost.
func (h *keptHost) describe(info *SessionInfo) {
	info.Stdout, _ = h.stdout.size()
	info.Stderr, _ = h.stderr.size()
	info.LastLine = h.lastLine()
	if isClosed(h.exited) {
		info.Exited, info.Exit = true, h.outcome
	}
}

// lastLine returns the last line of the output that was written to last, or of the other one if that has none.
func (h *keptHost) lastLine() string {
	line, newest := h.stdout.lastLine()
	other, otherNewest := h.stderr.lastLine()
	if other != "" && (line == "" || otherNewest.After(newest)) {
		return other
	}
	return line
}

// wait waits until the command has exited, or can't be ended.
func (h *keptHost) wait(ctx context.Context) error {
	select {
	case <-h.exited:
	case <-h.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return h.howEnded()
}

// howEnded returns what Wait of an attached process returns. The process has exited, or the session is over.
func (h *keptHost) howEnded() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state >= StateClosing {
		return h.result
	}
	return h.outcome
}
