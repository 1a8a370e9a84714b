package vt

import "unicode/utf8"

// The states of the parser. What each does with a character is in the function of its name.
type state uint8

const (
	ground state = iota
	escape
	escapeIntermediate
	csiEntry
	csiParam
	csiIntermediate
	csiIgnore
	oscString
	dcsEntry
	dcsParam
	dcsIntermediate
	dcsIgnore
	dcsPassthrough
	otherString // SOS, PM and APC, which mean nothing
)

// A parser is what is known of a sequence in progress.
type parser struct {
	state  state
	params params
	// collected holds a prefix and intermediates, the first in the highest byte that is not zero.
	collected uint32
	// final is the last byte of a DCS's introduction.
	final byte
	// payload is what an OSC or DCS has said so far. tooLong tells that it was more than maxPayload, so that it means nothing.
	payload []byte
	tooLong bool

	// partial holds the first bytes of a character in UTF-8.
	partial  [utf8.UTFMax]byte
	nPartial int
}

// between tells whether the parser is between two sequences.
func (p *parser) between() bool { return p.state == ground && p.nPartial == 0 }

func (p *parser) clear() {
	p.params.reset()
	p.collected = 0
}

func (p *parser) collect(c rune) { p.collected = p.collected<<8 | uint32(c) }

// start begins an OSC's or a DCS's payload. A long one's memory is given back.
func (p *parser) start(s state) {
	p.state = s
	p.tooLong = false
	if cap(p.payload) > keptPayload {
		p.payload = nil
	}
	p.payload = p.payload[:0]
}

func (p *parser) put(c rune) {
	if p.tooLong {
		return
	}
	p.payload = utf8.AppendRune(p.payload, c)
	if len(p.payload) > maxPayload {
		p.payload, p.tooLong = nil, true
	}
}

// Write takes what the command has written. It never fails.
func (t *Terminal) Write(p []byte) {
	for len(p) > 0 {
		switch {
		case t.nPartial > 0:
			p = t.finishPartial(p)
		case p[0] >= utf8.RuneSelf:
			p = t.writeEncoded(p)
		case t.state == ground && p[0]-0x20 < 0x5f:
			n := 1
			for n < len(p) && p[n]-0x20 < 0x5f {
				n++
			}
			t.printASCII(p[:n])
			p = p[n:]
		case t.state == csiParam && p[0]-'0' < 10:
			t.params.digit(int32(p[0] - '0'))
			p = p[1:]
		default:
			t.step(rune(p[0]))
			p = p[1:]
		}
	}
}

// writeEncoded takes a character that is not ASCII, or as much as there is of it. What is no character is skipped.
func (t *Terminal) writeEncoded(p []byte) []byte {
	if r, n := utf8.DecodeRune(p); n > 1 {
		t.stepEncoded(r)
		return p[n:]
	}
	if encodedLen(p[0]) > 0 {
		t.partial[0] = p[0]
		t.nPartial = 1
	}
	return p[1:]
}

// encodedLen returns how many bytes the character takes whose first byte is b, and 0 where b is no first byte.
func encodedLen(b byte) int {
	switch {
	case b&0xe0 == 0xc0:
		return 2
	case b&0xf0 == 0xe0:
		return 3
	case b&0xf8 == 0xf0:
		return 4
	}
	return 0
}

func (t *Terminal) finishPartial(p []byte) []byte {
	if p[0]&0xc0 != 0x80 {
		t.nPartial = 0
		return p
	}
	t.partial[t.nPartial] = p[0]
	t.nPartial++
	if t.nPartial < encodedLen(t.partial[0]) {
		return p[1:]
	}
	r, n := utf8.DecodeRune(t.partial[:t.nPartial])
	t.nPartial = 0
	if n > 1 {
		t.stepEncoded(r)
	}
	return p[1:]
}

func (t *Terminal) stepEncoded(r rune) {
	const byteOrderMark = 0xfeff
	switch {
	case r == byteOrderMark:
	case t.state == ground && r >= 0xa0:
		t.print(r)
	default:
		t.step(r)
	}
}

const (
	bel = 0x07
	can = 0x18
	sub = 0x1a
	esc = 0x1b
	del = 0x7f
	st  = 0x9c // string terminator
)

// step takes one character.
func (t *Terminal) step(c rune) {
	if c >= 0x80 && c < 0xa0 {
		t.stepC1(c)
		return
	}
	switch t.state {
	case oscString:
		t.stepOSC(c)
		return
	case dcsPassthrough:
		t.stepDCSPassthrough(c)
		return
	}
	switch c {
	case can, sub:
		t.execute(c)
		t.state = ground
	case esc:
		t.clear()
		t.state = escape
	default:
		t.stepIn(t.state, c)
	}
}

func (t *Terminal) stepIn(s state, c rune) {
	switch s {
	case ground:
		t.stepGround(c)
	case escape:
		t.stepEscape(c)
	case escapeIntermediate:
		t.stepEscapeIntermediate(c)
	case csiEntry, csiParam, csiIntermediate, csiIgnore:
		t.stepCSI(c)
	case dcsEntry, dcsParam, dcsIntermediate, dcsIgnore:
		t.stepDCS(c)
	case otherString:
		if c >= 0xa0 {
			t.state = ground
		}
	}
}

// stepC1 takes a C1 control character, which ends a sequence in any state.
func (t *Terminal) stepC1(c rune) {
	switch c {
	case st:
		t.endString(true)
		t.state = ground
	case 0x90: // DCS
		t.clear()
		t.state = dcsEntry
	case 0x98, 0x9e, 0x9f: // SOS, PM, APC
		t.state = otherString
	case 0x9b: // CSI
		t.clear()
		t.state = csiEntry
	case 0x9d: // OSC
		t.start(oscString)
	default:
		t.execute(c)
		t.state = ground
	}
}

// endString ends an OSC or a DCS, if there is one. One that is complete is done.
func (t *Terminal) endString(complete bool) {
	if t.state != oscString && t.state != dcsPassthrough {
		return
	}
	if complete && !t.tooLong {
		if t.state == oscString {
			t.osc(t.payload)
		} else {
			t.dcs(t.collected, t.final, string(t.payload))
		}
	}
	t.clear()
	t.join = 0
}

func (t *Terminal) stepGround(c rune) {
	switch {
	case c < 0x20:
		t.execute(c)
	case c != del:
		t.print(c)
	}
}

func (t *Terminal) stepEscape(c rune) {
	t.state = ground
	switch {
	case c < 0x20:
		t.execute(c)
		t.state = escape
	case c < 0x30:
		t.collect(c)
		t.state = escapeIntermediate
	case c == 'P':
		t.clear()
		t.state = dcsEntry
	case c == '[':
		t.clear()
		t.state = csiEntry
	case c == ']':
		t.start(oscString)
	case c == 'X', c == '^', c == '_':
		t.state = otherString
	case c < del:
		t.esc(t.collected, byte(c))
		t.join = 0
	case c == del:
		t.state = escape
	}
}

func (t *Terminal) stepEscapeIntermediate(c rune) {
	switch {
	case c < 0x20:
		t.execute(c)
	case c < 0x30:
		t.collect(c)
	case c < del:
		t.state = ground
		t.esc(t.collected, byte(c))
		t.join = 0
	case c > del:
		t.state = ground
	}
}

func (t *Terminal) stepCSI(c rune) {
	switch {
	case c < 0x20:
		t.execute(c)
	case c < 0x40:
		t.state = t.introduce(c, csiEntry)
	case c < del:
		ignored := t.state == csiIgnore
		t.state = ground
		if !ignored {
			t.csi(t.collected, byte(c))
			t.join = 0
		}
	case c > del && t.state != csiIgnore:
		t.state = ground
	}
}

// introduce takes a parameter, a prefix or an intermediate of a CSI or a DCS, and returns the next state. The states of
// the two stand in the same order.
func (t *Terminal) introduce(c rune, entry state) state {
	param, intermediate, ignore := entry+1, entry+2, entry+3
	switch {
	case t.state == ignore:
		return ignore
	case c < 0x30:
		t.collect(c)
		return intermediate
	case t.state == intermediate:
		return ignore
	case c < 0x3c:
		t.params.add(c)
		return param
	case t.state == entry:
		t.collect(c)
		return param
	}
	return ignore
}

func (t *Terminal) stepDCS(c rune) {
	switch {
	case c < 0x20, c == del:
	case c < 0x40:
		t.state = t.introduce(c, dcsEntry)
	case t.state == dcsIgnore:
	case c < del:
		t.final = byte(c)
		t.start(dcsPassthrough)
	default:
		t.state = ground
	}
}

func (t *Terminal) stepDCSPassthrough(c rune) {
	switch c {
	case esc:
		t.endString(true)
		t.state = escape
	case can, sub:
		t.endString(false)
		t.state = ground
	case del:
	default:
		t.put(c)
	}
}

func (t *Terminal) stepOSC(c rune) {
	switch {
	case c == bel:
		t.endString(true)
		t.state = ground
	case c == esc:
		t.endString(true)
		t.state = escape
	case c == can, c == sub:
		t.endString(false)
		t.state = ground
	case c >= 0x20:
		t.put(c)
	}
}
