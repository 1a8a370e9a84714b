package vt

import (
	"slices"
	"strings"
)

// join prints the last character again if a combining character may follow.
func (s *snapshot) join() {
	t, b := s.t, s.t.on
	if t.join == 0 || b.x > t.cols {
		return
	}
	if t.joinLost {
		s.str("\u3000")
		return
	}
	x := b.x - t.join
	if x < 0 || x >= t.cols {
		return
	}
	c := b.row().cells[x]
	if c.width() != t.join || !c.hasContent() || c.null() != t.pen.cell() {
		return
	}
	y := b.y
	if t.modes.origin {
		y -= b.top
	}
	s.cursor(x, max(y, 0))
	if t.modes.insert {
		s.csi(t.join, "P")
	}
	s.str(t.source(t.text(c)))
}

// source returns the characters that show text with the charset in use.
func (t *Terminal) source(text string) string {
	for from, to := range charsets[t.active] {
		if strings.HasPrefix(text, string(to)) && to < del {
			return string(rune(from)) + text[1:]
		}
	}
	return text
}

// partial writes the sequence and the character that are in progress.
func (s *snapshot) partial() {
	t := s.t
	switch t.state {
	case ground:
	case otherString:
		s.str("\x1b_")
	case oscString:
		s.str("\x1b]")
		if t.tooLong {
			s.str("x") // is no number, so all is ignored
		} else {
			s.out = append(s.out, t.payload...)
		}
	case escape, escapeIntermediate:
		s.str("\x1b", t.collectedBytes())
	case csiEntry:
		s.str("\x1b[")
	case csiParam, csiIntermediate, csiIgnore:
		s.str("\x1b[")
		s.introduction(t.state - csiEntry)
	case dcsEntry:
		s.str("\x1bP")
	case dcsParam, dcsIntermediate, dcsIgnore:
		s.str("\x1bP")
		s.introduction(t.state - dcsEntry)
	case dcsPassthrough:
		s.dcs()
	}
	s.out = append(s.out, t.parser.partial[:t.nPartial]...)
}

func (s *snapshot) dcs() {
	t := s.t
	s.str("\x1bP")
	if t.tooLong {
		s.introduction(dcsIgnore - dcsEntry)
		return
	}
	s.introduction(dcsIntermediate - dcsEntry)
	s.out = append(append(s.out, t.final), t.payload...)
}

// introduction writes prefix, parameters and intermediates. how is the state, counted from csiEntry or dcsEntry.
func (s *snapshot) introduction(how state) {
	t := s.t
	collected := t.collectedBytes()
	if collected != "" && collected[0] >= 0x3c {
		s.str(collected[:1])
		collected = collected[1:]
	}
	s.out = t.params.append(s.out)
	switch how {
	case csiIntermediate - csiEntry:
		s.str(collected)
	case csiIgnore - csiEntry:
		s.str("<")
	}
}

func (p *parser) collectedBytes() string {
	var b []byte
	for c := p.collected; c != 0; c >>= 8 {
		b = append(b, byte(c))
	}
	slices.Reverse(b)
	return string(b)
}
