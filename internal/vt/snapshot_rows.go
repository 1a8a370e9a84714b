package vt

import "strings"

// normalRows writes the normal screen, with what of its history is asked for. The cursor is at the upper left.
func (s *snapshot) normalRows() {
	t := s.t
	b := &t.normal
	scratch := newRow(t.cols, cell{})
	s.prev = make([]cell, t.cols)
	first := true
	if s.lines == 0 && b.rows[0].wrapped {
		s.above()
		first = false
	}
	b.history.rows(b.history.n-s.lines, func(packed []byte) {
		if packed[0]&packedPlain != 0 && s.plain(packed, first) {
			first = false
			return
		}
		t.sweep()
		t.unpack(scratch, packed)
		s.row(scratch, first)
		first = false
	})
	s.screenRows(b, first)
	if s.lines == 0 && b.rows[0].wrapped {
		s.str("\x1b[3J")
	}
}

// above writes a row for the first one to continue, which itself is not part of the snapshot.
func (s *snapshot) above() {
	s.str(strings.Repeat(" ", s.t.cols))
	s.x = s.t.cols
}

// plain writes a packed row of ASCII, and tells whether it could.
func (s *snapshot) plain(packed []byte, first bool) bool {
	cells, wrapped := packed[1:], packed[0]&packedWrapped != 0
	if s.pen != (look{}) || len(cells) > s.t.cols || wrapped && !first && (s.x < s.t.cols || len(cells) == 0) {
		return false
	}
	switch {
	case first:
	case wrapped:
		s.down()
	default:
		s.newLine()
	}
	s.out = append(s.out, cells...)
	s.x = len(cells)
	clear(s.prev)
	return true
}

// screenRows writes the rows of a screen. First tells that nothing was written before.
func (s *snapshot) screenRows(b *buffer, first bool) {
	rows := b.rows
	if first {
		for len(rows) > 0 && rows[len(rows)-1].blank() {
			rows = rows[:len(rows)-1]
		}
	}
	for _, r := range rows {
		s.row(r, first)
		first = false
	}
	s.setPen(look{})
}

// blank tells whether the row is as at the start.
func (r *row) blank() bool {
	for _, c := range r.cells {
		if c != (cell{}) {
			return false
		}
	}
	return !r.wrapped
}

// row writes a row below the last one.
func (s *snapshot) row(r *row, first bool) {
	var base cell
	switch {
	case first:
		s.x = 0
	case r.wrapped:
		base = s.wrap(r.cells[0])
	default:
		s.newLine()
	}
	s.cells(r.cells, base)
	s.prev = append(s.prev[:0], r.cells...)
}

// newLine goes to the start of the next row. A row that scrolls in is filled with the pen's background.
func (s *snapshot) newLine() {
	if s.pen.bg&colorMask != 0 {
		s.setPen(look{})
	}
	s.str("\r\n")
	s.down()
}

func (s *snapshot) down() {
	s.x = 0
	s.y = min(s.y+1, s.t.rows-1)
}

// wrap goes to the next row so that it continues the last one. Printing its first cell does that, or else spaces that
// are erased again. It returns what the new row is filled with, once its first cell is written.
func (s *snapshot) wrap(first cell) cell {
	l := s.t.lookOf(first)
	natural := first.hasContent() && l.usual() && s.x == s.t.cols && first.width() > 0
	if l.usual() && first.hasContent() && first.width() == 2 && s.prev[s.t.cols-1] == first.null() && s.x < s.t.cols {
		s.move(s.t.cols - 1)
		natural = true
	}
	if !natural {
		s.forceWrap()
		return cell{}
	}
	base := cell{}
	if s.y == s.t.rows-1 {
		base.bg = l.bg & colorMask
	}
	s.down()
	return base
}

func (s *snapshot) forceWrap() {
	pending := s.x == s.t.cols
	s.setPen(look{})
	if !pending {
		s.move(s.t.cols - 1)
		s.str(" ")
	}
	s.str(" \r\x1b[X")
	s.down()
	if !pending && s.t.rows > 1 {
		s.str("\x1b[A")
		s.nulls(s.prev, s.t.cols-1, cell{ch: ' '})
		s.str("\x1b[B\r")
		s.x = 0
	}
}

// move goes to a column at the right of the cursor.
func (s *snapshot) move(x int) {
	if x > s.x {
		s.csi(x-s.x, "C")
		s.x = x
	}
}

// erase makes n cells at the cursor null, with a background.
func (s *snapshot) erase(bg uint32, n int) {
	if bg &= colorMask; s.pen.bg&colorMask != bg {
		s.setPen(look{bg: bg})
	}
	s.csi(n, "X")
}

// cells writes the cells of a row that is filled with base.
func (s *snapshot) cells(cells []cell, base cell) {
	for i := 0; i < len(cells); {
		if cells[i].hasContent() {
			i += s.char(cells[i:], i)
		} else {
			i += s.nulls(cells, i, base)
		}
	}
}

// char writes the cell at column x, the first of cells, and returns how many cells that were.
func (s *snapshot) char(cells []cell, x int) int {
	c, t := cells[0], s.t
	text, n := t.text(c), max(c.width(), 1)
	if n == 2 && (len(cells) == 1 || cells[1].hasContent()) {
		text, n = " ", 1 // half of a character: no terminal shows it
	}
	s.move(x)
	s.setPen(t.lookOf(c))
	first := []rune(text)[0]
	switch w := runeWidth(first); {
	case c.width() == 0:
		s.str("\x1b\\") // so that it joins nothing
	case w == 0:
		s.str([]string{" ", "\u3000"}[n-1])
	}
	s.str(text)
	s.x += n
	return n
}

// nulls writes the null cells from column i on that look the same, and returns how many there are.
func (s *snapshot) nulls(cells []cell, i int, base cell) int {
	n, c := 1, cells[i].null()
	for i+n < len(cells) && !cells[i+n].hasContent() && cells[i+n].null() == c {
		n++
	}
	switch {
	case c == base:
	case c.fg == 0 && c.bg&^colorMask == 0:
		s.move(i)
		s.erase(c.bg, n)
	default:
		for x := i; x < i+n; x++ {
			s.flagged(cells, x, base)
		}
	}
	return n
}

// flagged writes a null cell that has more than a background. Only a wide character of which half is overwritten leaves
// one.
func (s *snapshot) flagged(cells []cell, x int, base cell) {
	l := s.t.lookOf(cells[x])
	if x < len(cells)-1 {
		s.move(x)
		s.setPen(l)
		s.str("\u3000")
		s.csi(x+2, "G")
		s.str(" ")
		s.csi(x+2, "G")
		s.x = x + 1
		s.erase(base.bg, 1)
		return
	}
	s.flaggedAlone(cells, x)
}

// flaggedAlone is flagged for a cell whose right neighbor stays as it is.
func (s *snapshot) flaggedAlone(cells []cell, x int) {
	if x == 0 {
		s.inexact = true
		return
	}
	s.csi(x, "G")
	s.setPen(s.t.lookOf(cells[x]))
	s.str("\u3000")
	s.csi(x, "G")
	s.str(" ")
	s.rewrite(cells, x-1)
}

// rewrite writes the cell at column x once more.
func (s *snapshot) rewrite(cells []cell, x int) {
	if x > 0 && cells[x].ch == chZero && cells[x-1].width() == 2 {
		x--
	}
	s.csi(x+1, "G")
	s.x = x
	switch c := cells[x]; {
	case c.hasContent():
		s.char(cells[x:], x)
	case c.fg == 0 && c.bg&^colorMask == 0:
		s.erase(c.bg, 1)
	default:
		s.flaggedAlone(cells, x)
	}
}
