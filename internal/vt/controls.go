package vt

// execute does what a control character says.
func (t *Terminal) execute(c rune) {
	switch c {
	case '\n', '\v', '\f':
		t.lineFeed()
	case '\r':
		t.on.x = 0
	case '\b':
		t.backspace()
	case '\t':
		t.tab(1)
	case 0x0e: // SO
		t.use(1)
	case 0x0f: // SI
		t.use(0)
	case 0x84: // IND
		t.index()
	case 0x85: // NEL
		t.nextLine()
	case 0x88: // HTS
		t.on.tabs.set(t.on.x)
	}
	t.join = 0
}

func (t *Terminal) lineFeed() {
	b := t.on
	if t.modes.newLine {
		b.x = 0
	}
	switch {
	case b.y == b.bottom:
		t.scroll(false)
	case b.y+1 < t.rows:
		b.y++
		b.row().wrapped = false
	}
	if b.x >= t.cols {
		b.x--
	}
}

// index is IND: a line feed that leaves what wraps, and ends a pending wrap.
func (t *Terminal) index() {
	b := t.on
	t.clampCursor(t.cols - 1)
	if b.y == b.bottom {
		t.scroll(false)
	} else {
		b.y = min(b.y+1, t.rows-1)
	}
	t.clampCursor(t.cols - 1)
}

func (t *Terminal) nextLine() {
	t.on.x = 0
	t.index()
}

// reverseIndex is RI.
func (t *Terminal) reverseIndex() {
	b := t.on
	t.clampCursor(t.cols - 1)
	if b.y == b.top {
		b.insertRows(b.y, 1, t.blank())
		return
	}
	b.y--
	t.clampCursor(t.cols - 1)
}

func (t *Terminal) backspace() {
	b := t.on
	if !t.modes.reverseWrap {
		t.clampCursor(t.cols - 1)
		b.x = max(b.x-1, 0)
		return
	}
	t.clampCursor(t.cols)
	switch {
	case b.x > 0:
		b.x--
	case b.y > b.top && b.y <= b.bottom && b.row().wrapped:
		b.row().wrapped = false
		b.y--
		b.x = t.cols - 1
		if last := b.row().cells[b.x]; last.ch == 0 {
			b.x-- // a wide character did not fit here
		}
	}
	t.clampCursor(t.cols - 1)
}

func (t *Terminal) tab(n int) {
	b := t.on
	for ; n > 0 && b.x < t.cols-1; n-- {
		b.x = b.tabs.next(b.x, t.cols)
	}
}

func (t *Terminal) tabBack(n int) {
	b := t.on
	for ; n > 0 && b.x > 0 && b.x < t.cols; n-- {
		b.x = b.tabs.before(b.x, t.cols)
	}
}

// esc does an escape sequence.
func (t *Terminal) esc(intermediates uint32, final byte) {
	switch intermediates {
	case 0:
		t.escPlain(final)
	case '(', ')', '*', '+', '-', '.':
		if set, ok := charsetNamed(final); ok {
			t.designate(map[uint32]int{'(': 0, ')': 1, '*': 2, '+': 3, '-': 1, '.': 2}[intermediates], set)
		}
	case '%':
		if final == '@' || final == 'G' {
			t.use(0)
			t.designate(0, 0)
		}
	case '#':
		if final == '8' {
			t.alignmentPattern()
		}
	}
}

func (t *Terminal) escPlain(final byte) {
	switch final {
	case '7':
		t.saveCursor()
	case '8':
		t.restoreCursor()
	case 'D':
		t.index()
	case 'E':
		t.nextLine()
	case 'H':
		t.on.tabs.set(t.on.x)
	case 'M':
		t.reverseIndex()
	case '=':
		t.modes.appKeypad = true
	case '>':
		t.modes.appKeypad = false
	case 'c':
		t.reset()
	case '~':
		t.use(1)
	case 'n', '}':
		t.use(2)
	case 'o', '|':
		t.use(3)
	}
}

// alignmentPattern is DECALN.
func (t *Terminal) alignmentPattern() {
	b := t.on
	t.moveTo(0, 0)
	rows := b.rows[b.y:]
	if b == &t.alt || b.history.max == 0 {
		rows = b.rows // xterm.js goes on at the top
	}
	for _, r := range rows {
		r.fill(cell{ch: 'E', fg: t.pen.fg, bg: t.pen.bg})
		r.wrapped = false
	}
	t.moveTo(0, 0)
}
