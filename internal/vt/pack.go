package vt

import (
	"encoding/binary"
	"unicode/utf8"
)

// A packed row is a byte of flags, and then its cells without the null cells of default look at the end.
//
// With packedPlain each cell is its ASCII character. Otherwise there are runs of cells that look the same: how many, as a
// varint, their look, and each cell:
//
//	0x00            null
//	0x01            the second cell of a wide character
//	0x02 w n bytes  text of n bytes that takes w columns
//	else            one character in UTF-8, as wide as runeWidth says
const (
	packedWrapped = 1 << iota
	packedPlain
)

const (
	packedNull = iota
	packedTail
	packedText
)

// pack appends the row to buf.
func (t *Terminal) pack(buf []byte, r *row) []byte {
	flags := byte(0)
	if r.wrapped {
		flags = packedWrapped
	}
	cells := r.cells
	for len(cells) > 0 && cells[len(cells)-1] == (cell{}) {
		cells = cells[:len(cells)-1]
	}
	head := len(buf)
	buf = append(buf, flags|packedPlain)
	for _, c := range cells {
		if c.fg|c.bg != 0 || c.ch-0x20 >= 0x5f {
			return t.packRuns(append(buf[:head], flags), cells)
		}
		buf = append(buf, byte(c.ch))
	}
	return buf
}

func (t *Terminal) packRuns(buf []byte, cells []cell) []byte {
	for len(cells) > 0 {
		n := 1
		for n < len(cells) && cells[n].looksLike(cells[0]) {
			n++
		}
		buf = binary.AppendUvarint(buf, uint64(n))
		buf = t.packLook(buf, cells[0])
		for _, c := range cells[:n] {
			if c.ch-0x20 < 0x5f {
				buf = append(buf, byte(c.ch))
			} else {
				buf = t.packCell(buf, c)
			}
		}
		cells = cells[n:]
	}
	return buf
}

func (c cell) looksLike(d cell) bool { return c.fg == d.fg && c.bg == d.bg && c.ext == d.ext }

// packLook writes fg and bg with the extra, if there is one.
func (t *Terminal) packLook(buf []byte, c cell) []byte {
	buf = binary.AppendUvarint(buf, uint64(c.fg))
	buf = binary.AppendUvarint(buf, uint64(c.bg))
	if c.bg&bgExtra == 0 {
		return buf
	}
	e := t.extras.get(c.ext)
	buf = append(buf, e.style)
	buf = binary.AppendUvarint(buf, uint64(e.color))
	for _, s := range []string{e.id, e.uri} {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	return buf
}

func (t *Terminal) packCell(buf []byte, c cell) []byte {
	r := rune(c.ch & chCode)
	switch {
	case c.ch&chCombined == 0 && r == 0 && c.ch == chZero:
		return append(buf, packedTail)
	case c.ch == 0:
		return append(buf, packedNull)
	case c.ch&chCombined == 0 && r != 0 && runeWidth(r) == c.width():
		return utf8.AppendRune(buf, r)
	}
	s := t.text(c)
	buf = append(buf, packedText, byte(c.width()))
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}

// An unpacker reads what pack has written.
type unpacker struct {
	t *Terminal
	b []byte
}

func (u *unpacker) number() int {
	v, n := binary.Uvarint(u.b)
	u.b = u.b[n:]
	return int(v)
}

func (u *unpacker) string() string {
	n := u.number()
	s := string(u.b[:n])
	u.b = u.b[n:]
	return s
}

// unpack makes r the row that was packed, of as many columns as r has.
func (t *Terminal) unpack(r *row, packed []byte) {
	clear(r.cells)
	r.wrapped = packed[0]&packedWrapped != 0
	if packed[0]&packedPlain != 0 {
		for i, b := range packed[1:] {
			if i < len(r.cells) {
				r.cells[i].ch = uint32(b)
			}
		}
		return
	}
	u := unpacker{t, packed[1:]}
	for x := 0; len(u.b) > 0; {
		n := u.number()
		look := u.look()
		for ; n > 0; n-- {
			look.ch = u.cell()
			if x < len(r.cells) {
				r.cells[x] = look
			}
			x++
		}
	}
}

func (u *unpacker) look() cell {
	c := cell{fg: uint32(u.number()), bg: uint32(u.number())}
	if c.bg&bgExtra != 0 {
		e := extra{style: u.b[0]}
		u.b = u.b[1:]
		e.color = uint32(u.number())
		e.id, e.uri = u.string(), u.string()
		c.ext = u.t.extras.number(e)
	}
	return c
}

func (u *unpacker) cell() uint32 {
	switch u.b[0] {
	case packedNull:
		u.b = u.b[1:]
		return 0
	case packedTail:
		u.b = u.b[1:]
		return chZero
	case packedText:
		bits := widthBits(int(u.b[1]))
		u.b = u.b[2:]
		return u.t.cluster(u.string()) | bits
	}
	r, n := utf8.DecodeRune(u.b)
	u.b = u.b[n:]
	return uint32(r) | widthBits(runeWidth(r))
}

// cluster returns the content of a cell with this text.
func (t *Terminal) cluster(s string) uint32 {
	if s == "" {
		return 0
	}
	if r, n := utf8.DecodeRuneInString(s); n == len(s) {
		return uint32(r)
	}
	return t.clusters.number(s) | chCombined
}

// packedTrimmed returns what trimmed returns for the row, which has cols columns.
func (t *Terminal) packedTrimmed(packed []byte, cols int) int {
	if packed[0]&packedPlain != 0 {
		return len(packed) - 1
	}
	r := row{cells: make([]cell, cols)}
	t.unpack(&r, packed)
	return r.trimmed()
}
