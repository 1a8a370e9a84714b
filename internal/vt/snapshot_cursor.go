package vt

import "strings"

// savedEarly sets saved cursors while the terminal is blank: the alternate screen's if the normal screen is shown, and the
// normal screen's if its row has scrolled off. For the latter it scrolls blank rows until a row of that number is shown.
func (s *snapshot) savedEarly() {
	t := s.t
	if t.on == &t.normal && t.alt.saved != (saved{}) {
		s.str("\x1b[?47h")
		s.save(t.alt.saved, t.alt.saved.line, false)
		s.str("\x1b[?47l\x1b[H")
	}
	b := &t.normal
	line := b.saved.line - b.history.n
	if b.saved == (saved{}) || line >= 0 && line < t.rows {
		return
	}
	line = max(line+s.lines, 0)
	if down := line - (t.rows - 1); down > 0 {
		s.cursor(0, t.rows-1)
		s.str(strings.Repeat("\n", down))
	}
	s.save(b.saved, line, true)
	s.str("\x1b[3J\x1b[H")
	s.saves, s.early = false, true
}

// late sets the buffer's saved cursor, unless savedEarly has done so. The buffer is shown.
func (s *snapshot) late(b *buffer) {
	if b == &s.t.normal && s.early && !s.saves {
		return
	}
	c := b.saved
	line := c.line - b.history.n
	s.inexact = s.inexact || s.saves && b == &s.t.normal && (line < 0 || line >= s.t.rows)
	if b == s.t.on && s.t.oddSet() {
		c.charset = s.t.active // it comes from the other screen's saved cursor: better that one is wrong
	}
	if c != (saved{}) || s.saves {
		s.save(c, line, b == &s.t.normal)
	}
	s.saves = false
}

// save saves a cursor in row y. normal tells that the normal screen is shown.
func (s *snapshot) save(c saved, y int, normal bool) {
	t := s.t
	y = min(max(y, 0), t.rows-1)
	s.setPen(look{fg: c.fg, bg: c.bg})
	if c.x >= t.cols && normal {
		s.overhang(c.x, y)
	} else {
		s.cursor(min(c.x, t.cols-1), y)
	}
	if c.charset != 0 {
		s.str("\x1b(", string(c.charset.final()))
	}
	s.str("\x1b7")
	if c.charset != 0 {
		s.str("\x1b(B")
	}
	s.setPen(look{})
}

// oddSet tells whether the character set in use is not the one that was shifted to. It came with a restored cursor.
func (t *Terminal) oddSet() bool { return t.active != t.sets[t.level] }

// restore restores the cursor, as the command has done. Nothing else leads to an odd character set, or to a pen whose flags
// do not fit its extra.
func (s *snapshot) restore(pen look) {
	saved := s.t.on.saved
	s.setUsual(pen.extraOnly())
	s.str("\x1b8")
	s.pen.fg, s.pen.bg = saved.fg, saved.bg
	if !s.t.oddSet() && saved.charset != 0 {
		s.str("\x0f")
	}
}

// place puts the cursor in its place. Only a printed character leads to a pending wrap, or to a place beyond it. place
// prints one if mayPrint is set.
func (s *snapshot) place(mayPrint bool) {
	t, b := s.t, s.t.on
	y := b.y
	if t.modes.origin {
		y -= b.top
	}
	last := t.cols - 1
	if b.x <= last {
		s.cursor(b.x, max(y, 0))
		return
	}
	if b == &t.normal {
		s.overhang(b.x, b.y)
		return
	}
	c := b.row().cells[last]
	if c.width() == 0 && !c.hasContent() && b.row().cells[last-1].width() == 2 {
		last--
		c = b.row().cells[last]
	}
	s.cursor(last, max(y, 0))
	if !mayPrint {
		s.inexact = true
		return
	}
	s.setPen(t.lookOf(c))
	if text := t.text(c); text != "" {
		s.str(text)
	} else {
		s.str(" ")
		s.inexact = true
	}
}

// overhang puts the normal screen's cursor beyond its last column: in the alternate screen, whose cursor the normal screen
// takes over as it is.
func (s *snapshot) overhang(x, y int) {
	cols := s.t.cols
	s.str("\x1b[?47h")
	s.cursor(cols-1, y)
	s.str(" ", strings.Repeat("\x1b\\\u200b", x-cols), "\x1b[?47l")
}
