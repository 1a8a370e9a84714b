package client

import (
	"os"
	"sync"
	"time"

	"golang.org/x/term"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// terminal is this program's terminal. It is nil if there is none.
type terminal struct {
	fd int

	mu    sync.Mutex  // guards what follows
	found *term.State // how makeRaw found the terminal; nil if there is nothing to restore
}

// openTerminal returns f as a terminal, or nil if it is none.
func openTerminal(f *os.File) *terminal {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	return &terminal{fd: fd}
}

func (t *terminal) present() bool { return t != nil }

// size returns the terminal's size. It returns zeros if the size is unknown.
func (t *terminal) size() (rows, cols uint16) {
	if t == nil {
		return 0, 0
	}
	width, height, err := term.GetSize(t.fd)
	if err != nil {
		return 0, 0
	}
	return uint16(height), uint16(width)
}

// makeRaw makes the terminal pass on all input unchanged. The command's terminal interprets it.
func (t *terminal) makeRaw() (err error) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found, err = term.MakeRaw(t.fd)
	if err != nil {
		return xerrors.Errorf("make terminal raw: %w", err)
	}
	return nil
}

// restore restores the terminal's modes from before makeRaw.
func (t *terminal) restore() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.found != nil {
		_ = term.Restore(t.fd, t.found)
		t.found = nil
	}
}

// restoreOnPanic is deferred in every goroutine except the main one, which defers restore.
func (t *terminal) restoreOnPanic() {
	if r := recover(); r != nil {
		t.restore()
		panic(r)
	}
}

// followSize resizes the command's terminal at each change of this terminal's size. It ends with the command's context.
func (c *client) followSize(p wsep.Process, changes <-chan os.Signal) {
	for {
		select {
		case <-changes:
		case <-c.ctx.Done():
			return
		}
		if rows, cols := c.terminal.size(); rows > 0 && cols > 0 {
			// Wait returns the same failure.
			_ = p.Resize(c.ctx, rows, cols)
		}
	}
}

// redraw makes a program in the command's terminal draw everything again: the size changes twice.
func (c *client) redraw(p wsep.Process) {
	rows, cols := c.terminal.size()
	if rows < 2 || cols == 0 {
		return
	}
	// Ends with the command's context.
	c.spawn(func() {
		_ = p.Resize(c.ctx, rows-1, cols)
		select {
		case <-time.After(redrawPause):
		case <-c.ctx.Done():
		}
		_ = p.Resize(c.ctx, rows, cols)
	})
}

// redrawPause is how long the program has to notice the first change of size. Changes that wait become one.
const redrawPause = 100 * time.Millisecond
