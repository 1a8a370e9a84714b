package vt

import "unicode/utf8"

// printASCII prints characters from 0x20 to 0x7e.
func (t *Terminal) printASCII(p []byte) {
	if t.active != 0 || t.modes.insert || !t.modes.wraps() {
		for _, b := range p {
			t.print(rune(b))
		}
		return
	}
	b := t.on
	look := t.pen.cell()
	t.healLeft(look)
	for len(p) > 0 {
		if b.x >= t.cols {
			t.wrap()
		}
		cells := b.row().cells[b.x:]
		n := min(len(cells), len(p))
		c := look
		for i, r := range p[:n] {
			c.ch = uint32(r)
			cells[i] = c
		}
		b.x += n
		p = p[n:]
	}
	t.join, t.joinLost = 1, false
	t.healRight(look)
}

// healLeft clears the first half of a wide character whose second half is about to be overwritten.
func (t *Terminal) healLeft(look cell) {
	b := t.on
	if b.x > 0 && b.x <= t.cols && b.row().cells[b.x-1].width() == 2 {
		b.row().cells[b.x-1] = look
	}
}

// healRight clears the second half of a wide character whose first half was overwritten.
func (t *Terminal) healRight(look cell) {
	b := t.on
	if b.x < t.cols && b.row().cells[b.x].ch == chZero {
		b.row().cells[b.x] = look
	}
}

// wrap moves the cursor to the start of the next row, which continues this one.
func (t *Terminal) wrap() {
	b := t.on
	b.x = 0
	switch {
	case b.y == b.bottom:
		t.scroll(true)
	default:
		b.y = min(b.y+1, t.rows-1)
		b.row().wrapped = true
	}
}

// print prints one character.
func (t *Terminal) print(r rune) {
	if t.active != 0 && r < del {
		if m, ok := charsets[t.active][byte(r)]; ok {
			r = m
		}
	}
	look := t.pen.cell()
	t.healLeft(look)
	t.place(r, runeWidth(r), look)
	t.healRight(look)
}

func (t *Terminal) place(r rune, width int, look cell) {
	b := t.on
	if width == 0 && t.join != 0 {
		t.combine(r)
		return
	}
	t.join, t.joinLost = width, false
	if b.x+width > t.cols && !t.makeRoom(width, look) {
		return
	}
	row := b.row()
	if t.modes.insert {
		row.insert(b.x, width, look)
	}
	if b.x < t.cols {
		c := look
		c.ch = uint32(r) | widthBits(width)
		row.cells[b.x] = c
	}
	b.x = min(b.x+1, t.cols+maxOverhang)
	if width == 2 {
		c := look
		c.ch = chZero
		row.cells[b.x] = c
		b.x++
	}
}

// makeRoom wraps, or without wraparound goes to the last column. It tells whether the character has room now.
func (t *Terminal) makeRoom(width int, look cell) bool {
	b := t.on
	if t.modes.noWrap {
		b.x = t.cols - 1
		t.joinLost = width == 2
		return width < 2
	}
	from, x := b.row(), b.x
	scrolls := b.y == b.bottom
	if !scrolls {
		t.wrap()
	}
	for ; x < t.cols; x++ {
		from.cells[x] = look
	}
	if scrolls {
		t.wrap()
	}
	return true
}

// combine adds a character of width 0 to the one before the cursor.
func (t *Terminal) combine(r rune) {
	t.sweep()
	b := t.on
	if b.x == 0 || b.x > t.cols {
		return
	}
	row := b.row()
	x := b.x - 1
	if row.cells[x].width() == 0 {
		x = max(x-1, 0)
	}
	c := &row.cells[x]
	switch {
	case !c.hasContent():
		c.ch = uint32(r)
	default:
		s := t.text(*c)
		if len(s)+utf8.RuneLen(r) > maxCluster {
			return
		}
		n := t.clusters.number(s + string(r))
		if n == 0 {
			return
		}
		c.ch = n | chCombined
	}
	c.ch |= widthBits(t.join)
}
