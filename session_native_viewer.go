package wsep

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"cdr.dev/wsep/internal/vt"
)

// viewer is the process that shows a session to a client. The lock of the host's screen guards its fields, unless they do
// not change. Its reader owns what that reads.
type viewer struct {
	host       *nativeHost
	scrollback int             // how many lines that have scrolled off the client wants
	stdin      io.WriteCloser  // what the client types goes there
	ctx        context.Context // ends when the viewer leaves
	cancel     context.CancelFunc
	unbind     func() bool // unbinds the viewer from its client's context
	detached   func()      // called when the viewer has left, before its result is known

	reading sync.Mutex // held by the reader; guards the next two
	rest    []byte     // what was taken and not read
	taken   []byte     // the memory of rest

	rows, cols int       // the size of the client's terminal
	asked      int       // how often the terminal was asked for its cursor and has not answered
	held       []byte    // the beginning of an answer that the client has typed; at most maxHeldAnswer
	pending    []byte    // what the client has not been given; at most about twice viewerLimit
	stale      bool      // after pending the client needs a drawing of the whole screen in place of what it missed
	cropped    bool      // the session has another size: the client gets drawings of what fits
	framed     bool      // the last that the client was given is such a drawing
	dirty      bool      // the screen may have changed since
	frame      []byte    // the last drawing
	drawn      time.Time // when the client was given the last drawing, of what fits or of the whole screen
	last       []byte    // what resets the client's terminal, after all else; set when the viewer leaves
	left       bool

	more   chan struct{} // has room for one: the reader looks again
	done   chan struct{} // closed when result is set
	result error
}

const (
	// viewerLimit is how many bytes a client may be behind. Then it gets a drawing of the screen in place of what it missed.
	viewerLimit = 1 << 20
	// keptBuffer is how many bytes of memory a viewer keeps while there is nothing to read.
	keptBuffer = 8 << 10
	// crossing is how long a drawing of the whole screen may take to the client's terminal. A resize that the client sends
	// meanwhile may say that the terminal had another size when it got the drawing.
	crossing = 2 * time.Second
	// frameInterval is the time between two drawings for a client whose terminal has another size than the session.
	frameInterval = 50 * time.Millisecond
)

const (
	// blank clears the screen of a terminal whose modes are usual.
	blank = "\x1b[H\x1b[2J"
	// anew makes a terminal that shows anything, and is inside of anything, show a blank screen with usual modes. What has
	// scrolled off stays. See [vt.Fresh].
	anew = "\x18\x1b[?47l\x1b[!p\x1b[4l\x1b[20l\x1b[?1l\x1b[?6l\x1b[?7h\x1b[?25h\x1b[?45l\x1b[?66l\x1b[?9l\x1b[?1000l" +
		"\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2026l\x1b[0 q\x1b[r\x0f\x1b(B\x1b)B\x1b[m" +
		"\x1b]8;;\x1b\\\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\" + blank
	// clearHistory clears what has scrolled off. Of a client that asks for none of that, it is not the session's to clear.
	clearHistory = "\x1b[3J"
)

// attach implements sessionHost.
func (h *nativeHost) attach(ctx context.Context, c Command, detached func()) (Process, error) {
	rows, cols := c.size()
	v := &viewer{
		host:       h,
		scrollback: int(min(int64(c.Scrollback), int64(h.scrollback))),
		stdin:      disabledStdin{},
		detached:   detached,
		rows:       int(rows),
		cols:       int(cols),
		more:       make(chan struct{}, 1),
		done:       make(chan struct{}),
	}
	if c.Stdin {
		v.stdin = &viewerStdin{viewer: v}
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	h.screen.Lock()
	h.viewers = append(h.viewers, v)
	h.lead(v)
	if !v.cropped {
		v.pending = append([]byte(blank), h.snapshot(v)...)
		v.drawn = time.Now()
	}
	over := h.over
	v.unbind = context.AfterFunc(ctx, v.detach)
	h.screen.Unlock()
	h.see()
	if over {
		v.leave(h.howEnded())
	}
	_ = h.resizeProcess(v.ctx)
	return v, nil
}

// snapshot returns what makes a blank terminal show the session. The lock is held.
func (h *nativeHost) snapshot(v *viewer) []byte {
	b := h.model.Snapshot(v.scrollback)
	if v.scrollback == 0 {
		b = bytes.ReplaceAll(b, []byte(clearHistory), nil)
	}
	return b
}

// add gives the viewer what the command has written, and the model has taken. The lock is held.
func (v *viewer) add(b []byte) {
	switch {
	case v.cropped:
		v.dirty = true
	case v.stale:
		return
	default:
		v.pending = append(v.pending, b...)
		if n := len(v.pending); n >= 2*viewerLimit || n >= viewerLimit && v.host.model.Between() {
			v.stale = true
		}
	}
	v.wake()
}

func (v *viewer) wake() {
	select {
	case v.more <- struct{}{}:
	default:
	}
}

// fit is called when the size of the session or of the client has changed. The lock is held.
func (v *viewer) fit() {
	rows, cols := v.host.model.Size()
	cropped := v.rows != rows || v.cols != cols
	if cropped {
		v.dirty = true
	} else if v.cropped {
		v.stale = true
	}
	v.cropped = cropped
	v.wake()
}

// Read returns what the client's terminal is to show. It is the Read of Stdout.
func (v *viewer) Read(p []byte) (int, error) {
	v.reading.Lock()
	defer v.reading.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for len(v.rest) == 0 {
		ready, wait, err := v.take()
		if err != nil {
			return 0, err
		}
		if !ready {
			v.await(wait)
		}
	}
	n := copy(p, v.rest)
	v.rest = v.rest[n:]
	return n, nil
}

// await waits until there may be something to read, for at most a time. 0 means no bound.
func (v *viewer) await(limit time.Duration) {
	var timeout <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-v.more:
	case <-timeout:
	}
}

// take takes what is to be read next. If there is nothing yet, it returns how long to wait, or 0. After the last bytes it
// returns why the output has ended.
func (v *viewer) take() (ready bool, wait time.Duration, err error) {
	h := v.host
	h.screen.Lock()
	defer h.screen.Unlock()
	switch {
	case len(v.pending) > 0:
		v.rest = v.pending
		v.pending, v.taken = v.taken[:0], v.pending
	case v.left:
		if len(v.last) == 0 {
			return false, 0, v.end()
		}
		v.rest, v.last = v.last, nil
	case v.cropped && v.dirty:
		if wait = frameInterval - time.Since(v.drawn); wait > 0 {
			return false, wait, nil
		}
		v.rest = v.draw()
	case v.stale:
		v.rest = v.draw()
	default:
		if cap(v.taken) > keptBuffer || cap(v.pending) > keptBuffer {
			v.taken, v.pending = nil, nil
		}
		return false, 0, nil
	}
	return len(v.rest) > 0, 0, nil
}

// end returns why the output has ended, after its last byte. The lock is held.
func (v *viewer) end() error {
	if v.host.cut != nil && !errors.Is(v.result, errDetached) {
		return v.host.cut
	}
	return io.EOF
}

// draw returns a drawing of the whole screen, or of what fits the client's terminal. It is empty if the client has the same
// already. The lock is held.
func (v *viewer) draw() []byte {
	wasFramed := v.framed
	v.framed, v.stale, v.dirty = v.cropped, false, false
	v.drawn = time.Now()
	if !v.cropped {
		v.frame = nil
		if v.scrollback == 0 {
			return append([]byte(anew), v.host.snapshot(v)...)
		}
		return append([]byte(vt.Fresh), v.host.snapshot(v)...)
	}
	frame := v.host.model.Crop(v.rows, v.cols)
	if wasFramed && bytes.Equal(frame, v.frame) {
		return nil
	}
	v.frame = frame
	if wasFramed {
		return frame
	}
	return append([]byte(anew), frame...)
}

// detach makes the viewer leave. The session continues.
func (v *viewer) detach() { v.leave(errDetached) }

// leave ends the viewer with a result. What the client has not been given can still be read. Later calls do nothing.
func (v *viewer) leave(result error) {
	h := v.host
	h.screen.Lock()
	if v.left {
		h.screen.Unlock()
		return
	}
	if v.stale || v.cropped {
		v.last = v.draw()
	}
	v.last = slices.Concat(v.last, h.model.Reset(), h.modes.Undo())
	v.left, v.result = true, result
	i := slices.Index(h.viewers, v)
	h.viewers = slices.Delete(h.viewers, i, i+1)
	if n := len(h.viewers); n > 0 && !h.over {
		h.lead(h.viewers[n-1])
	}
	h.screen.Unlock()
	v.unbind()
	v.cancel()
	if !isClosed(h.ended) {
		_ = h.resizeProcess(h.closing)
	}
	h.removeClient(0)
	v.detached()
	close(v.done)
	v.wake()
}

// Pid implements Process.
func (v *viewer) Pid() int { return v.host.process.Pid() }

// Stdin implements Process.
func (v *viewer) Stdin() io.WriteCloser { return v.stdin }

// Stdout implements Process.
func (v *viewer) Stdout() io.Reader { return v }

// Stderr implements Process.
func (v *viewer) Stderr() io.Reader { return bytes.NewReader(nil) }

// Resize implements Process. The session gets the client's size.
func (v *viewer) Resize(ctx context.Context, rows, cols uint16) error {
	if rows == 0 || cols == 0 {
		return nil
	}
	if isClosed(v.done) {
		return errProcessDone
	}
	v.host.screen.Lock()
	changed := v.rows != int(rows) || v.cols != int(cols)
	v.rows, v.cols = int(rows), int(cols)
	v.host.lead(v)
	if changed {
		v.redraw()
	}
	v.host.screen.Unlock()
	return v.host.resizeProcess(ctx)
}

// redraw gives the client another drawing if its terminal may have got the last one in another size than that was made for. The
// lock is held.
func (v *viewer) redraw() {
	if v.cropped || v.stale || time.Since(v.drawn) > crossing {
		return
	}
	if v.framed || len(v.pending) >= viewerLimit {
		v.stale = true
	} else {
		v.pending = append(v.pending, v.draw()...)
	}
	v.wake()
}

// Wait implements Process.
func (v *viewer) Wait() error {
	<-v.done
	return v.result
}

// Exited implements [Exiter].
func (v *viewer) Exited() <-chan struct{} { return v.done }

// Close implements Process. The session continues.
func (v *viewer) Close() error {
	v.detach()
	return nil
}

// Signal implements Signaler.
func (v *viewer) Signal(ctx context.Context, signal string) error {
	if err := v.host.signalError(); err != nil {
		return err
	}
	return v.host.signal(ctx, signal)
}
