package client

import (
	"errors"
	"io"
	"os"
	"sync"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/termmodes"
)

// display is the terminal that a command's output is shown on.
type display struct {
	w io.Writer

	mu    sync.Mutex // guards what follows
	modes termmodes.Modes
}

// openDisplay returns a writer to f, which is a display if f is a terminal.
func openDisplay(f *os.File) io.Writer {
	if openTerminal(f).present() {
		return &display{w: f}
	}
	return f
}

// Write implements io.Writer.
func (d *display) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.modes.Follow(p[:n])
	return n, err
}

// undoModes undoes the modes that a command has set in a display. It is for a command that this program has left or lost. A
// command that has exited keeps its modes.
func undoModes(w io.Writer, result error) {
	d, shown := w.(*display)
	_, exited := errors.AsType[wsep.ExitError](result)
	if !shown || exited || result == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if undo := d.modes.Undo(); len(undo) > 0 {
		// An error means that the terminal is lost. There is nothing to do about it.
		_, _ = d.w.Write(undo)
	}
}
