package vt

// modes are what is switched on and off. The zero modes are those at the start.
type modes struct {
	insert       bool // IRM
	newLine      bool // LNM
	appCursor    bool // DECCKM
	origin       bool // DECOM
	noWrap       bool // DECAWM, off
	reverseWrap  bool
	appKeypad    bool // DECNKM
	noCursor     bool // DECTCEM, off
	focus        bool
	paste        bool // bracketed
	synchronized bool
	mouse        int // which events are reported: a DECSET mode, or 0
	encoding     int // how: a DECSET mode, or 0
	// blink is what DECSET 12 has set, 0 as long as it has not.
	blink blink
	// style is DECSCUSR's number, 0 for the terminal's own.
	style int
}

// A blink says whether the cursor blinks.
type blink uint8

const (
	blinkUnset blink = iota
	blinkOn
	blinkOff
)

func (m *modes) wraps() bool { return !m.noWrap }

// flag returns the mode that a number switches on and off, and nil where there is none of that kind.
func (m *modes) flag(number int) *bool {
	switch number {
	case 1:
		return &m.appCursor
	case 45:
		return &m.reverseWrap
	case 66:
		return &m.appKeypad
	case 1004:
		return &m.focus
	case 2004:
		return &m.paste
	case 2026:
		return &m.synchronized
	}
	return nil
}

// setANSI is SM and RM.
func (t *Terminal) setANSI(on bool) {
	for _, p := range t.params.values[:t.params.n] {
		switch p {
		case 4:
			t.modes.insert = on
		case 20:
			t.modes.newLine = on
		}
	}
}

// setPrivate is DECSET and DECRST.
func (t *Terminal) setPrivate(on bool) {
	for _, p := range t.params.values[:t.params.n] {
		t.setPrivateMode(int(p), on)
	}
}

func (t *Terminal) setPrivateMode(p int, on bool) {
	if flag := t.modes.flag(p); flag != nil {
		*flag = on
		return
	}
	switch p {
	case 2:
		if on {
			for g := range t.sets {
				t.designate(g, 0)
			}
		}
	case 6:
		t.modes.origin = on
		t.moveTo(0, 0)
	case 7:
		t.modes.noWrap = !on
	case 12:
		t.modes.blink = blinkOff
		if on {
			t.modes.blink = blinkOn
		}
	case 25:
		t.modes.noCursor = !on
	case 9, 1000, 1002, 1003:
		t.modes.mouse = number(p, on)
	case 1006, 1016:
		t.modes.encoding = number(p, on)
	case 47, 1047, 1048, 1049:
		t.setScreen(p, on)
	}
}

func number(p int, on bool) int {
	if on {
		return p
	}
	return 0
}

// setScreen switches between the screens, and saves and restores the cursor.
func (t *Terminal) setScreen(p int, on bool) {
	if on {
		if p == 1048 || p == 1049 {
			t.saveCursor()
		}
		if p != 1048 {
			t.showAlternate()
		}
		return
	}
	if p != 1048 {
		t.showNormal()
	}
	if p == 1048 || p == 1049 {
		t.restoreCursor()
	}
}

func (t *Terminal) showAlternate() {
	if t.on == &t.alt {
		return
	}
	t.alt.show(t.rows, t.cols, t.blank())
	t.alt.x, t.alt.y = t.normal.x, t.normal.y
	t.on = &t.alt
}

// showNormal leaves the alternate screen, which is cleared.
func (t *Terminal) showNormal() {
	if t.on == &t.normal {
		return
	}
	t.normal.x, t.normal.y = t.alt.x, t.alt.y
	t.alt.setUp(t.rows, t.cols)
	t.on = &t.normal
}

func (t *Terminal) saveCursor() {
	b := t.on
	b.saved = saved{x: b.x, line: b.history.n + b.y, fg: t.pen.fg, bg: t.pen.bg, charset: t.active}
}

func (t *Terminal) restoreCursor() {
	b := t.on
	b.x = b.saved.x
	b.y = max(b.saved.line-b.history.n, 0)
	t.pen.fg, t.pen.bg = b.saved.fg, b.saved.bg
	t.active = b.saved.charset
	t.clampCursor(t.cols - 1)
}

// softReset is DECSTR.
func (t *Terminal) softReset() {
	b := t.on
	t.pen = pen{}
	t.shift = shift{}
	t.modes = modes{blink: t.modes.blink, newLine: t.modes.newLine, mouse: t.modes.mouse, encoding: t.modes.encoding}
	b.top, b.bottom = 0, t.rows-1
	b.saved = saved{line: b.history.n}
}
