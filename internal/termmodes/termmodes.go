// Package termmodes follows the modes that a program's output sets in a terminal. They can be reset when a client
// detaches before the program has done so. The sequences are those of xterm
// (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html) and, for keys, of kitty
// (https://sw.kovidgoyal.net/kitty/keyboard-protocol/).
package termmodes

import (
	"bytes"
	"fmt"
	"iter"
)

// Modes are the settings of a terminal that output has changed. The zero value has none. Modes are for one goroutine at
// a time.
type Modes struct {
	private  uint32 // a bit for each of privateModes that is changed
	other    uint32 // a bit for each of the undo… constants
	keys     int    // how many sets of key reports were pushed and not popped
	sequence [maxSequence]byte
	length   int // of the incomplete sequence; 0 outside of sequences
}

// maxSequence bounds a sequence, in bytes. Longer ones are ignored.
const maxSequence = 64

// Control characters: an escape begins a sequence, the others cancel one.
const (
	esc = 0x1b
	can = 0x18
	sub = 0x1a
)

// privateModes are the modes that "CSI ? n h" turns on and "CSI ? n l" turns off, in the order in which Undo resets
// them.
var privateModes = []struct {
	number int
	usual  bool
	soft   bool // whether a soft reset, DECSTR, sets it as usual
}{
	{number: 9}, {number: 1000}, {number: 1001}, {number: 1002}, {number: 1003}, // mouse reports
	{number: 1005}, {number: 1006}, {number: 1015}, {number: 1016}, // their formats
	{number: 1004},                               // focus reports
	{number: 2004},                               // bracketed paste
	{number: 2026},                               // synchronized output
	{number: 2031},                               // color scheme reports
	{number: 2048},                               // size reports
	{number: 1, soft: true},                      // application cursor keys
	{number: 5},                                  // reverse video
	{number: 6, soft: true},                      // origin
	{number: 7, usual: true},                     // autowrap
	{number: 47}, {number: 1047}, {number: 1049}, // alternate screen
	{number: 25, usual: true, soft: true}, // cursor
}

const (
	undoInsert = 1 << iota
	undoKeypad
	undoModifiedKeys
	undoSetKeys
	undoCursorStyle
	undoCharset
	undoRegion
	undoAttributes
)

// undoing has the sequence for each of the undo constants, in their order. Setting the region moves the cursor, so the
// sequence saves and restores it.
var undoing = []string{
	"\x1b[4l", "\x1b>", "\x1b[>4m", "\x1b[=0u", "\x1b[0 q", "\x1b(B\x0f", "\x1b7\x1b[r\x1b8", "\x1b[m",
}

// softReset are the settings that DECSTR resets.
const softReset = undoInsert | undoKeypad | undoRegion | undoAttributes

// Follow takes the next output.
func (m *Modes) Follow(output []byte) {
	for len(output) > 0 {
		if m.length == 0 {
			begin := bytes.IndexByte(output, esc)
			if begin < 0 {
				return
			}
			output = output[begin:]
		}
		c := output[0]
		output = output[1:]
		switch {
		case c == esc:
			m.length = 0
		case m.length == maxSequence || c == can || c == sub:
			m.length = 0
			continue
		case c < ' ':
			continue // A terminal handles it as if it came before the sequence.
		}
		m.sequence[m.length] = c
		m.length++
		if m.ended() {
			m.apply(m.sequence[1:m.length])
			m.length = 0
		}
	}
}

// ended reports whether the sequence is complete. A string, such as a title, counts as text after its beginning.
func (m *Modes) ended() bool {
	last := m.sequence[m.length-1]
	switch {
	case m.length == 1:
		return false
	case m.sequence[1] == '[':
		return m.length > 2 && last >= '@'
	}
	return last >= '0' // A byte below is an intermediate one: another follows.
}

// apply handles a sequence, without its escape.
func (m *Modes) apply(s []byte) {
	kind, final := s[0], s[len(s)-1]
	switch kind {
	case '[':
		m.control(s[1:len(s)-1], final)
	case '=', '>':
		m.set(undoKeypad, kind == '=')
	case '(':
		m.set(undoCharset, final != 'B')
	case 'c':
		*m = Modes{}
	}
}

// control handles a control sequence (CSI): its parameters, with the prefix and the intermediate byte, and its last
// byte.
func (m *Modes) control(parameters []byte, final byte) {
	var prefix, between byte
	if n := len(parameters); n > 0 && parameters[0] >= '<' && parameters[0] <= '?' {
		prefix, parameters = parameters[0], parameters[1:]
	}
	if n := len(parameters); n > 0 && parameters[n-1] < '0' {
		between, parameters = parameters[n-1], parameters[:n-1]
	}
	switch [3]byte{prefix, between, final} {
	case [3]byte{'?', 0, 'h'}, [3]byte{'?', 0, 'l'}:
		for n := range numbers(parameters) {
			m.setPrivate(n, final == 'h')
		}
	case [3]byte{0, 0, 'h'}, [3]byte{0, 0, 'l'}:
		for n := range numbers(parameters) {
			if n == 4 {
				m.set(undoInsert, final == 'h')
			}
		}
	case [3]byte{0, 0, 'm'}:
		m.setAttributes(parameters)
	case [3]byte{0, 0, 'r'}:
		m.set(undoRegion, len(parameters) > 0)
	case [3]byte{0, ' ', 'q'}:
		m.set(undoCursorStyle, first(parameters) != 0)
	case [3]byte{'>', 0, 'm'}:
		m.set(undoModifiedKeys, bytes.Contains(parameters, []byte{';'}) && !bytes.HasSuffix(parameters, []byte(";0")))
	case [3]byte{'>', 0, 'u'}:
		m.keys++
	case [3]byte{'<', 0, 'u'}:
		m.keys = max(0, m.keys-max(1, first(parameters)))
	case [3]byte{'=', 0, 'u'}:
		m.set(undoSetKeys, first(parameters) != 0)
	case [3]byte{0, '!', 'p'}:
		m.softReset()
	}
}

// numbers returns the parameters as numbers. A number ends at the first byte that is no digit, such as the colon before
// its own parameters.
func numbers(parameters []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for p := range bytes.SplitSeq(parameters, []byte{';'}) {
			n := 0
			for _, c := range p {
				if c < '0' || c > '9' || n > maxNumber {
					break
				}
				n = 10*n + int(c-'0')
			}
			if !yield(n) {
				return
			}
		}
	}
}

// maxNumber is larger than any number with a meaning.
const maxNumber = 1 << 16

func first(parameters []byte) int {
	for n := range numbers(parameters) {
		return n
	}
	return 0
}

func (m *Modes) set(what uint32, on bool) {
	if on {
		m.other |= what
	} else {
		m.other &^= what
	}
}

func (m *Modes) setPrivate(number int, on bool) {
	for i, mode := range privateModes {
		switch {
		case mode.number != number:
		case on == mode.usual:
			m.private &^= 1 << i
		default:
			m.private |= 1 << i
		}
	}
}

// setAttributes handles the parameters of SGR. 0 turns all attributes off. 22 to 29 turn one off.
func (m *Modes) setAttributes(parameters []byte) {
	for n := range numbers(parameters) {
		switch {
		case n == 0:
			m.set(undoAttributes, false)
		case n == 38 || n == 48 || n == 58:
			m.set(undoAttributes, true)
			return // The numbers of a color follow.
		case n < 22 || n > 29:
			m.set(undoAttributes, true)
		}
	}
}

func (m *Modes) softReset() {
	m.other &^= softReset
	for i, mode := range privateModes {
		if mode.soft {
			m.private &^= 1 << i
		}
	}
}

// Undo returns the output that resets the terminal, or nil if nothing is changed. Afterwards the Modes are the zero
// value. An incomplete sequence is canceled.
func (m *Modes) Undo() []byte {
	var undo []byte
	if m.length > 0 {
		undo = append(undo, can)
	}
	for i, mode := range privateModes {
		if m.private&(1<<i) != 0 {
			undo = fmt.Appendf(undo, "\x1b[?%d%c", mode.number, letter[mode.usual])
		}
	}
	if m.keys > 0 {
		undo = fmt.Appendf(undo, "\x1b[<%du", m.keys)
	}
	for i, sequence := range undoing {
		if m.other&(1<<i) != 0 {
			undo = append(undo, sequence...)
		}
	}
	*m = Modes{}
	return undo
}

var letter = map[bool]byte{true: 'h', false: 'l'}
