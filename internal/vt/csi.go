package vt

// csi does a control sequence. Its identity is the prefix and the intermediates, and the last byte.
func (t *Terminal) csi(id uint32, final byte) {
	switch id {
	case 0:
		if !t.csiMove(final) && !t.csiEdit(final) {
			t.csiState(final)
		}
	case '?':
		t.csiPrivate(final)
	case '>':
		t.csiSecondary(final)
	case ' ':
		t.csiSpace(final)
	case '\'':
		t.csiColumns(final)
	case '!':
		if final == 'p' {
			t.softReset()
		}
	case '"':
		if final == 'q' {
			t.protect()
		}
	case '$', '?'<<8 | '$':
		if final == 'p' {
			t.reportMode(id == '$')
		}
	}
}

// csiMove does what moves the cursor, and tells whether it was that.
func (t *Terminal) csiMove(final byte) bool {
	b, n := t.on, t.params.atLeast1(0)
	switch final {
	case 'A': // CUU
		t.up(n)
	case 'B': // CUD
		t.down(n)
	case 'C', 'a': // CUF, HPR
		t.moveBy(n, 0)
	case 'D': // CUB
		t.moveBy(-n, 0)
	case 'E': // CNL
		t.down(n)
		b.x = 0
	case 'F': // CPL
		t.up(n)
		b.x = 0
	case 'G', '`': // CHA, HPA
		t.moveTo(n-1, b.y)
	case 'H', 'f': // CUP, HVP
		t.moveTo(t.params.atLeast1(1)-1, n-1)
	case 'I': // CHT
		t.tab(n)
	case 'Z': // CBT
		t.tabBack(n)
	case 'd': // VPA
		t.moveTo(b.x, n-1)
	case 'e': // VPR
		t.moveBy(0, n)
	default:
		return false
	}
	return true
}

func (t *Terminal) up(n int) {
	if room := t.on.y - t.on.top; room >= 0 {
		n = min(n, room)
	}
	t.moveBy(0, -n)
}

func (t *Terminal) down(n int) {
	if room := t.on.bottom - t.on.y; room >= 0 {
		n = min(n, room)
	}
	t.moveBy(0, n)
}

// csiEdit does what changes the screen, and tells whether it was that.
func (t *Terminal) csiEdit(final byte) bool {
	b, n := t.on, t.params.atLeast1(0)
	switch final {
	case '@': // ICH
		t.clampCursor(t.cols - 1)
		b.row().insert(b.x, n, t.blank())
	case 'J': // ED
		t.eraseDisplay(false)
	case 'K': // EL
		t.eraseLine(false)
	case 'L': // IL
		t.editRows(b.insertRows)
	case 'M': // DL
		t.editRows(b.removeRows)
	case 'P': // DCH
		t.clampCursor(t.cols - 1)
		b.row().remove(b.x, n, t.blank())
	case 'S': // SU
		b.removeRows(b.top, n, t.blank())
	case 'T': // SD
		b.insertRows(b.top, n, cell{})
	case 'X': // ECH
		t.clampCursor(t.cols - 1)
		b.row().replace(b.x, b.x+n, t.blank(), false)
	case 'b': // REP
		t.repeat(n)
	default:
		return false
	}
	return true
}

// csiState does what changes modes and the like, and what asks.
func (t *Terminal) csiState(final byte) {
	switch final {
	case 'c': // DA1
		if t.params.get(0) == 0 {
			t.reply("\x1b[?1;2c")
		}
	case 'g': // TBC
		t.clearTabs()
	case 'h': // SM
		t.setANSI(true)
	case 'l': // RM
		t.setANSI(false)
	case 'm': // SGR
		t.sgr()
	case 'n': // DSR
		t.reportStatus("")
	case 'r': // DECSTBM
		t.setMargins()
	case 's':
		t.saveCursor()
	case 'u':
		t.restoreCursor()
	}
}

func (t *Terminal) csiPrivate(final byte) {
	switch final {
	case 'J': // DECSED
		t.eraseDisplay(true)
	case 'K': // DECSEL
		t.eraseLine(true)
	case 'h': // DECSET
		t.setPrivate(true)
	case 'l': // DECRST
		t.setPrivate(false)
	case 'n': // DECDSR
		t.reportStatus("?")
	}
}

func (t *Terminal) csiSecondary(final byte) {
	switch final {
	case 'c': // DA2
		if t.params.get(0) == 0 {
			t.reply("\x1b[>0;276;0c")
		}
	case 'q': // XTVERSION
		if t.params.get(0) == 0 {
			t.reply("\x1bP>|wsep\x1b\\")
		}
	}
}

func (t *Terminal) csiSpace(final byte) {
	n := t.params.atLeast1(0)
	switch final {
	case '@': // SL
		t.editColumns(func(r *row) { r.remove(0, n, t.blank()) })
	case 'A': // SR
		t.editColumns(func(r *row) { r.insert(0, n, t.blank()) })
	case 'q': // DECSCUSR
		t.setCursorStyle(t.params.get(0))
	}
}

// setCursorStyle takes a number above 6 for the shape that is set, as xterm.js does: odd numbers blink. 7 and 8 stand for
// the terminal's own shape.
func (t *Terminal) setCursorStyle(n int) {
	if n > 6 {
		shape := (t.modes.style + 7) % 8 / 2
		n = shape*2 + 2 - n%2
	}
	t.modes.style = n
}

func (t *Terminal) csiColumns(final byte) {
	n, x := t.params.atLeast1(0), t.on.x
	switch final {
	case '}': // DECIC
		t.editColumns(func(r *row) { r.insert(x, n, t.blank()) })
	case '~': // DECDC
		t.editColumns(func(r *row) { r.remove(x, n, t.blank()) })
	}
}

// editColumns calls f for each row within the margins, if the cursor is there.
func (t *Terminal) editColumns(f func(*row)) {
	b := t.on
	if b.y < b.top || b.y > b.bottom {
		return
	}
	for _, r := range b.rows[b.top : b.bottom+1] {
		f(r)
		r.wrapped = false
	}
}

// editRows calls f, which is insertRows or removeRows, at the cursor, if that is within the margins.
func (t *Terminal) editRows(f func(y, n int, fill cell)) {
	b := t.on
	t.clampCursor(t.cols - 1)
	if b.y < b.top || b.y > b.bottom {
		return
	}
	f(b.y, t.params.atLeast1(0), t.blank())
	b.x = 0
}

func (t *Terminal) eraseDisplay(spare bool) {
	b := t.on
	t.clampCursor(t.cols)
	switch t.params.get(0) {
	case 0:
		t.eraseInRow(b.x, t.cols, b.x == 0, spare)
		t.eraseRows(b.rows[b.y+1:], spare)
	case 1:
		t.eraseInRow(0, b.x+1, true, spare)
		if b.x+1 >= t.cols {
			b.unwrap(b.y + 1)
		}
		t.eraseRows(b.rows[:b.y], spare)
	case 2:
		t.eraseRows(b.rows, spare)
	case 3:
		b.history.clear()
	}
}

// unwrap says that a row continues none. The row counts from the oldest of the history: xterm.js takes it for that.
func (b *buffer) unwrap(line int) {
	switch y := line - b.history.n; {
	case y < 0:
		b.history.unwrap(line)
	case y < len(b.rows):
		b.rows[y].wrapped = false
	}
}

func (t *Terminal) eraseLine(spare bool) {
	b := t.on
	t.clampCursor(t.cols)
	switch t.params.get(0) {
	case 0:
		t.eraseInRow(b.x, t.cols, b.x == 0, spare)
	case 1:
		t.eraseInRow(0, b.x+1, false, spare)
	case 2:
		t.eraseInRow(0, t.cols, true, spare)
	}
}

func (t *Terminal) eraseInRow(start, end int, unwrap, spare bool) {
	r := t.on.row()
	r.replace(start, end, t.blank(), spare)
	if unwrap {
		r.wrapped = false
	}
}

func (t *Terminal) eraseRows(rows []*row, spare bool) {
	for _, r := range rows {
		if spare {
			for i, c := range r.cells {
				if c.bg&bgProtected == 0 {
					r.cells[i] = t.blank()
				}
			}
		} else {
			r.fill(t.blank())
		}
		r.wrapped = false
	}
}

// repeat is REP. It repeats at most a thousand times more than there are columns.
func (t *Terminal) repeat(n int) {
	b := t.on
	x := b.x - t.join
	if t.join == 0 || x < 0 || x >= t.cols {
		return
	}
	text := t.text(b.row().cells[x])
	for range min(n, t.cols+1000) {
		for _, r := range text {
			t.print(r)
		}
	}
}

func (t *Terminal) clearTabs() {
	switch t.params.get(0) {
	case 0:
		t.on.tabs.clear(t.on.x)
	case 3:
		t.on.tabs = tabs{}
	}
}

func (t *Terminal) setMargins() {
	top, bottom := t.params.atLeast1(0), t.params.get(1)
	if bottom == 0 || bottom > t.rows {
		bottom = t.rows
	}
	if bottom > top {
		t.on.top, t.on.bottom = top-1, bottom-1
		t.moveTo(0, 0)
	}
}

// protect is DECSCA.
func (t *Terminal) protect() {
	switch t.params.get(0) {
	case 0, 2:
		t.pen.bg &^= bgProtected
	case 1:
		t.pen.bg |= bgProtected
	}
}
