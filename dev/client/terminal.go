package main

import (
	"os"
	"sync"

	"golang.org/x/term"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// terminal is the terminal that this program runs in. A nil terminal is none.
type terminal struct {
	fd int

	mu    sync.Mutex  // guards what follows
	found *term.State // how makeRaw found the terminal; nil if there is nothing to restore
}

// openTerminal returns the terminal that f is, or nil.
func openTerminal(f *os.File) *terminal {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	return &terminal{fd: fd}
}

func (t *terminal) present() bool { return t != nil }

// size returns the terminal's size, zeros if it is not known.
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

// makeRaw has the terminal pass on what is typed as it is, for the command's terminal to interpret.
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

// restore leaves the terminal as makeRaw found it.
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

// restoreOnPanic is deferred in every goroutine but the main one, whose panic runs the deferred restore.
func (t *terminal) restoreOnPanic() {
	if r := recover(); r != nil {
		t.restore()
		panic(r)
	}
}

// followSize gives the command's terminal the size of this one, again and again. It ends with the command's context.
func (c *client) followSize(p wsep.Process, changes <-chan os.Signal) {
	for {
		select {
		case <-changes:
		case <-c.ctx.Done():
			return
		}
		if rows, cols := c.terminal.size(); rows > 0 && cols > 0 {
			// A failure is the connection's or the command's, whose end is told elsewhere.
			_ = p.Resize(c.ctx, rows, cols)
		}
	}
}
