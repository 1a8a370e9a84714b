package vt

import "strconv"

// Reset returns what undoes at a client what the command has set: the alternate screen, modes, margins, the mouse, the
// cursor's shape, how characters look, character sets and colors. What the normal screen shows stays, and the title. The
// cursor ends where it is on the normal screen. Reset is empty if there is nothing to undo.
func (t *Terminal) Reset() []byte {
	s := &snapshot{t: t}
	if !t.between() {
		s.str("\x18")
	}
	if t.on == &t.alt {
		s.str("\x1b[?47l")
	}
	s.resetModes()
	if t.shift != (shift{}) {
		s.str("\x0f\x1b(B\x1b)B\x1b*B\x1b+B")
	}
	if s.penLook() != (look{}) {
		s.str("\x1b[0\"q\x1b[m\x1b]8;;\x1b\\")
	}
	s.resetColors()
	margins := t.normal.top != 0 || t.normal.bottom != t.rows-1
	if margins {
		s.str("\x1b[r")
	}
	if margins || t.on == &t.alt || t.modes.origin {
		s.cursor(min(t.normal.x, t.cols-1), t.normal.y)
	}
	return s.out
}

func (s *snapshot) resetModes() {
	m := &s.t.modes
	if m.insert {
		s.str("\x1b[4l")
	}
	if m.newLine {
		s.str("\x1b[20l")
	}
	for _, p := range []int{1, 45, 66, 1004, 2004, 2026} {
		if *m.flag(p) {
			s.private(p, false)
		}
	}
	for _, p := range []int{m.mouse, m.encoding} {
		if p != 0 {
			s.private(p, false)
		}
	}
	if m.origin {
		s.private(6, false)
	}
	if m.noWrap {
		s.private(7, true)
	}
	if m.noCursor {
		s.private(25, true)
	}
	if m.blink == blinkOn {
		s.private(12, false)
	}
	if m.style != 0 {
		s.str("\x1b[0 q")
	}
}

func (s *snapshot) resetColors() {
	for _, key := range s.t.colorKeys() {
		if key < 256 {
			s.str("\x1b]104;", strconv.Itoa(key), "\x1b\\")
		} else {
			s.str("\x1b]", strconv.Itoa(key-special(0)+100), "\x1b\\")
		}
	}
}
