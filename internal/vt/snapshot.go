package vt

import (
	"slices"
	"strconv"
)

// Snapshot returns bytes that bring a fresh terminal of the same size to the same state, with up to scrollback rows that
// have scrolled off. If the bytes written so far end inside a sequence or a character, so does the snapshot: see
// [Terminal.Between].
//
// If the other terminal is not fresh, write [Fresh] to it before.
func (t *Terminal) Snapshot(scrollback int) []byte { return t.snapshot(scrollback).out }

func (t *Terminal) snapshot(scrollback int) *snapshot {
	h := &t.normal.history
	s := &snapshot{t: t, lines: min(max(scrollback, 0), h.n)}
	s.out = make([]byte, 0, 4096+s.lines*(t.cols/2))
	s.names()
	s.savedEarly()
	s.normalRows()
	if t.on == &t.alt {
		s.settle(&t.normal)
		s.cursor(min(t.normal.x, t.cols-1), t.normal.y) // a resize starts from there
		s.str("\x1b[?47h\x1b[H")
		s.y = 0
		if t.alt.rows[0].wrapped {
			s.above()
		}
		s.screenRows(&t.alt, !t.alt.rows[0].wrapped)
	}
	s.settle(t.on)
	s.state()
	return s
}

// Fresh makes a terminal fresh, whatever it shows, also inside a sequence. It clears the scrollback too. The title stays,
// and so do changed colors.
const Fresh = "\x18\x1b[20l\x1b[?25h\x1bc"

// A snapshot is one in progress. It knows the state of the terminal that reads it.
type snapshot struct {
	t     *Terminal
	out   []byte
	lines int // how many rows of the history are in it

	pen   look
	saves bool // the saved cursor was overwritten
	early bool // the normal screen's saved cursor is set
	// inexact tells that the snapshot differs in a detail: a saved cursor is on the screen's edge instead of beyond it, a
	// space stands for a null cell, or the pen is lost (see lostPen).
	inexact bool

	// The cursor while rows are written. x is the number of columns while a wrap is pending.
	x, y int
	prev []cell // the row that was written last
}

func (s *snapshot) str(parts ...string) {
	for _, p := range parts {
		s.out = append(s.out, p...)
	}
}

// csi writes a control sequence with one parameter, unless that is 1.
func (s *snapshot) csi(n int, final string) {
	s.str("\x1b[")
	if n != 1 {
		s.out = strconv.AppendInt(s.out, int64(n), 10)
	}
	s.str(final)
}

// cursor moves the cursor to a column and a row.
func (s *snapshot) cursor(x, y int) {
	s.str("\x1b[", strconv.Itoa(y+1), ";", strconv.Itoa(x+1), "H")
}

// names writes the title and the colors.
func (s *snapshot) names() {
	t := s.t
	if t.icon != "" {
		s.str("\x1b]1;", t.icon, "\x1b\\")
	}
	if t.title != "" {
		s.str("\x1b]2;", t.title, "\x1b\\")
	}
	for _, key := range t.colorKeys() {
		if key < 256 {
			s.str("\x1b]4;", strconv.Itoa(key), ";", t.colors[key], "\x1b\\")
		} else {
			s.str("\x1b]", strconv.Itoa(key-special(0)), ";", t.colors[key], "\x1b\\")
		}
	}
}

func (t *Terminal) colorKeys() []int {
	var keys []int
	for key := range t.colors {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// settle sets the buffer's tab stops, saved cursor and margins. The buffer is shown.
func (s *snapshot) settle(b *buffer) {
	t := s.t
	var usual tabs
	usual.setFrom(0, t.cols)
	if !b.tabs.equal(&usual, t.cols) {
		s.str("\x1b[3g")
		for x := range t.cols {
			if b.tabs.at(x) {
				s.csi(x+1, "G")
				s.str("\x1bH")
			}
		}
	}
	s.late(b)
	if b.top != 0 || b.bottom != t.rows-1 {
		s.str("\x1b[", strconv.Itoa(b.top+1), ";", strconv.Itoa(b.bottom+1), "r")
	}
}

// equal tells whether both have the same stops on the screen.
func (s *tabs) equal(o *tabs, cols int) bool {
	for x := range cols {
		if s.at(x) != o.at(x) {
			return false
		}
	}
	return true
}

// state writes the rest of the state, for the buffer that is shown.
func (s *snapshot) state() {
	t := s.t
	if t.modes.origin {
		s.str("\x1b[?6h")
	}
	pen := s.penLook()
	if t.lostPen() {
		s.inexact = true
		pen = pen.nearest()
	}
	if t.oddSet() {
		s.charsets()
	}
	if t.oddSet() || !pen.usual() {
		s.restore(pen)
	}
	s.place(pen.usual())
	if !t.oddSet() {
		s.charsets()
	}
	s.switches()
	if pen.usual() {
		s.setPen(pen)
	} else {
		s.patchPen(pen)
	}
	if t.modes.insert {
		s.str("\x1b[4h")
	}
	s.join()
	s.partial()
}

// charsets designates G0 to G3 and shifts.
func (s *snapshot) charsets() {
	t := s.t
	for g, set := range t.sets {
		if set != 0 {
			s.str("\x1b", string("()*+"[g]), string(set.final()))
		}
	}
	s.str([]string{"", "\x0e", "\x1bn", "\x1bo"}[t.level])
}

// switches writes the modes that do not move the cursor.
func (s *snapshot) switches() {
	m := &s.t.modes
	for _, p := range []int{1, 45, 66, 1004, 2004} {
		if *m.flag(p) {
			s.private(p, true)
		}
	}
	if m.noWrap {
		s.private(7, false)
	}
	if m.blink != blinkUnset {
		s.private(12, m.blink == blinkOn)
	}
	for _, p := range []int{m.mouse, m.encoding} {
		if p != 0 {
			s.private(p, true)
		}
	}
	if m.noCursor {
		s.private(25, false)
	}
	if m.style != 0 {
		s.str("\x1b[", strconv.Itoa(m.style), " q")
	}
	if m.newLine {
		s.str("\x1b[20h")
	}
	if m.synchronized {
		s.private(2026, true)
	}
}

func (s *snapshot) private(p int, on bool) {
	final := "l"
	if on {
		final = "h"
	}
	s.str("\x1b[?", strconv.Itoa(p), final)
}
