package wsep

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"cdr.dev/wsep/internal/termmodes"
	"cdr.dev/wsep/internal/vt"
)

// nativeHost is the host of a session in this process. It reads the command's terminal all the time, into a model of it. A
// client gets a snapshot of the model, and then what the command writes. Nothing that a client does, or does not, holds up
// the command.
type nativeHost struct {
	*Session
	process Process
	cancel  context.CancelFunc // ends the process by force
	seen    chan struct{}      // closed when the first client has attached
	see     func()             // closes seen
	ended   chan struct{}      // closed when the process has exited, and all its output is in the model
	outcome error              // what the process's Wait returned; set before ended is closed

	input   *sharedInput
	midLine bool // the last byte typed does not end a line; owned by the holder of the input's token

	sizing     sync.Mutex // held while the process's terminal is resized; guards what follows
	rows, cols int        // the size of the process's terminal

	screen    sync.Mutex // guards what follows
	model     *vt.Terminal
	modes     termmodes.Modes // what the output has set in clients' terminals, also what the model does not know
	viewers   []*viewer       // the attached ones. The last one leads: it has attached, typed or resized last
	answering bool            // the model's answers are being typed
	cut       error           // why the output was lost before its end; nil if it was not
	over      bool            // no more viewers: those that attach now leave at once
}

// nativeEnv are the variables that describe the model to the command, unless the command brings its own.
var nativeEnv = []string{"TERM=xterm-256color", "COLORTERM=truecolor"}

const (
	// readSize is how many bytes are read from the command's terminal at a time, at most.
	readSize = 32 << 10
	// heldGrace is how long the output may go on after the command's exit, while another process holds the terminal.
	heldGrace = 200 * time.Millisecond
)

// startNativeHost starts the session's command.
func startNativeHost(s *Session) (sessionHost, error) {
	c := s.command
	rows, cols := c.size()
	h := &nativeHost{
		Session: s,
		model:   vt.New(int(rows), int(cols), s.scrollback),
		seen:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	h.see = sync.OnceFunc(func() { close(h.seen) })
	h.rows, h.cols = h.model.Size()
	c.ID, c.TTY, c.Stdin, c.Rows, c.Cols = "", true, true, uint16(h.rows), uint16(h.cols)
	c.Env = slices.Concat(nativeEnv, c.Env)
	var err error
	if h.process, h.cancel, err = s.startProcess(c); err != nil {
		return nil, err
	}
	h.input = newSharedInput(h.process.Stdin())
	// Ends when the process has exited and its output has ended.
	go h.read()
	return h, nil
}

// read reads the command's terminal until its output has ended and the process has exited.
func (h *nativeHost) read() {
	defer close(h.ended)
	defer h.cancel()
	if p, ok := processAs[Exiter](h.process); ok {
		all := make(chan struct{})
		defer close(all)
		// Ends soon after the process's exit.
		go h.endHeldOutput(p.Exited(), all)
	}
	out, buf := h.process.Stdout(), make([]byte, readSize)
	for {
		n, err := out.Read(buf)
		if n > 0 {
			h.show(buf[:n])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			h.fail(err)
			break
		}
	}
	h.outcome = h.process.Wait()
}

// endHeldOutput ends output that another process holds open after the exit. On this machine that process lives on.
func (h *nativeHost) endHeldOutput(exited, all <-chan struct{}) {
	<-exited
	await(all, all, heldGrace)
	if isClosed(all) {
		return
	}
	if p, ok := processAs[interface{ endOutputs() }](h.process); ok {
		p.endOutputs()
	} else {
		_ = h.process.Close()
	}
}

func (h *nativeHost) fail(err error) {
	h.screen.Lock()
	defer h.screen.Unlock()
	h.cut = err
}

// show takes what the command has written.
func (h *nativeHost) show(b []byte) {
	h.screen.Lock()
	defer h.screen.Unlock()
	h.model.Write(b)
	h.modes.Follow(b)
	for _, v := range h.viewers {
		v.add(b)
	}
	h.answer()
}

// keep implements sessionHost.
func (h *nativeHost) keep() {
	select {
	case <-h.ended:
		h.awaitClient()
	case <-h.closing.Done():
	}
	if err := context.Cause(h.closing); err != nil {
		h.advance(StateClosing, err, err)
		h.end()
	} else if errors.Is(h.outcome, ErrDisconnected) {
		h.advance(StateClosing, h.outcome, h.outcome)
	} else {
		h.advance(StateClosing, errSessionDone, h.outcome)
	}
	h.dismiss()
}

// awaitClient waits for the first client of a command that has exited, or until the session begins to close.
func (h *nativeHost) awaitClient() {
	select {
	case <-h.seen:
	case <-h.closing.Done():
	}
}

// end ends the command if it still runs, and all processes of this machine in its terminal.
func (h *nativeHost) end() {
	endProcess(h.process, h.cancel, h.ended)
	if t, ok := processAs[interface{ killTerminal() }](h.process); ok {
		t.killTerminal()
	}
}

// dismiss tells the clients that the session is over. The session is closing.
func (h *nativeHost) dismiss() {
	h.screen.Lock()
	h.over = true
	viewers := slices.Clone(h.viewers)
	h.screen.Unlock()
	for _, v := range viewers {
		v.leave(h.howEnded())
	}
}

// signal implements sessionHost.
func (h *nativeHost) signal(ctx context.Context, signal string) error {
	return signalProcess(ctx, h.process, signal)
}

// describe implements sessionHost.
func (h *nativeHost) describe(info *SessionInfo) {
	h.screen.Lock()
	defer h.screen.Unlock()
	info.LastLine = h.model.LastLine()
}

// howEnded returns what Wait of an attached process returns. The session is closing.
func (h *nativeHost) howEnded() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.result
}
