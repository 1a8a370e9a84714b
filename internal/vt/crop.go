package vt

// Crop returns what shows the upper left of the screen on a terminal of another size, which is fresh or shows an earlier
// crop. Modes that matter to what is typed there are set as the command has set them.
func (t *Terminal) Crop(rows, cols int) []byte {
	rows, cols = clampSize(rows, cols)
	s := &snapshot{t: t, out: make([]byte, 0, 4096)}
	s.str("\x1b[?2026h\x1b[?7l\x1b[?25l\x1b[m")
	for y := range rows {
		s.cursor(0, y)
		s.str("\x1b[2K")
		if y < t.rows {
			s.x = 0
			s.cells(t.on.rows[y].cells[:min(cols, t.cols)], cell{})
			s.setPen(look{})
		}
	}
	s.str("\x1b[?7h")
	s.cropModes()
	x, y := min(t.on.x, t.cols-1), t.on.y
	s.cursor(min(x, cols-1), min(y, rows-1))
	if !t.modes.noCursor && x < cols && y < rows {
		s.private(25, true)
	}
	s.str("\x1b[?2026l")
	return s.out
}

// cropModes sets and resets the modes of keys, of pasting and of the mouse.
func (s *snapshot) cropModes() {
	m := &s.t.modes
	for _, p := range []int{1, 66, 2004} {
		s.private(p, *m.flag(p))
	}
	for _, p := range []int{9, 1000, 1002, 1003} {
		if p != m.mouse {
			s.private(p, false)
		}
	}
	for _, p := range []int{m.mouse, m.encoding} {
		if p != 0 {
			s.private(p, true)
		}
	}
}
