package vt

import (
	"slices"
	"strconv"
	"strings"
)

// Snapshot returns what brings a fresh terminal of the same size to the same state, with up to scrollback rows that have
// scrolled off. It may end inside a sequence or a character, as what was written does: see [Terminal.Between].
//
// A terminal that is not fresh needs [Fresh] before.
func (t *Terminal) Snapshot(scrollback int) []byte { return t.snapshot(scrollback).out }

func (t *Terminal) snapshot(scrollback int) *snapshot {
	h := &t.normal.history
	s := &snapshot{t: t, lines: min(max(scrollback, 0), h.n)}
	s.out = make([]byte, 0, 4096+s.lines*(t.cols/2))
	s.names()
	s.savedEarly()
	s.normalRows()
	if t.on == &t.alt {
		s.settle(&t.normal)
		s.cursor(min(t.normal.x, t.cols-1), t.normal.y) // a resize starts from there
		s.str("\x1b[?47h\x1b[H")
		s.y = 0
		if t.alt.rows[0].wrapped {
			s.above()
		}
		s.screenRows(&t.alt, !t.alt.rows[0].wrapped)
	}
	s.settle(t.on)
	s.state()
	return s
}

// Fresh makes a terminal that shows anything, and is inside of anything, fresh. It clears what has scrolled off too. A
// title, and colors that were changed, stay.
const Fresh = "\x18\x1b[20l\x1b[?25h\x1bc"

// A snapshot is one in progress. It knows the state of the terminal that reads it.
type snapshot struct {
	t     *Terminal
	out   []byte
	lines int // how many rows of the history are in it

	pen   look
	saves bool // the saved cursor was overwritten
	early bool // the normal screen's saved cursor is set
	// inexact tells that a saved cursor is on the screen's edge instead of beyond, that a space stands for a null cell, or
	// that the pen is lost: see lostPen.
	inexact bool

	// Where the cursor is while rows are written, x being the number of columns while a wrap is pending.
	x, y int
	prev []cell // the row that was written last
}

func (s *snapshot) str(parts ...string) {
	for _, p := range parts {
		s.out = append(s.out, p...)
	}
}

// csi writes a control sequence with one parameter, unless that is 1.
func (s *snapshot) csi(n int, final string) {
	s.str("\x1b[")
	if n != 1 {
		s.out = strconv.AppendInt(s.out, int64(n), 10)
	}
	s.str(final)
}

// cursor moves the cursor to a column and a row.
func (s *snapshot) cursor(x, y int) {
	s.str("\x1b[", strconv.Itoa(y+1), ";", strconv.Itoa(x+1), "H")
}

// names writes the title and the colors.
func (s *snapshot) names() {
	t := s.t
	if t.icon != "" {
		s.str("\x1b]1;", t.icon, "\x1b\\")
	}
	if t.title != "" {
		s.str("\x1b]2;", t.title, "\x1b\\")
	}
	for _, key := range t.colorKeys() {
		if key < 256 {
			s.str("\x1b]4;", strconv.Itoa(key), ";", t.colors[key], "\x1b\\")
		} else {
			s.str("\x1b]", strconv.Itoa(key-special(0)), ";", t.colors[key], "\x1b\\")
		}
	}
}

func (t *Terminal) colorKeys() []int {
	var keys []int
	for key := range t.colors {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// savedEarly sets saved cursors while the terminal is blank: that of the alternate screen if that is not shown, and that
// of the normal one if its row has scrolled off, so that it has to be counted.
func (s *snapshot) savedEarly() {
	t := s.t
	if t.on == &t.normal && t.alt.saved != (saved{}) {
		s.str("\x1b[?47h")
		s.save(t.alt.saved, t.alt.saved.line, false)
		s.str("\x1b[?47l\x1b[H")
	}
	b := &t.normal
	line := b.saved.line - b.history.n
	if b.saved == (saved{}) || line >= 0 && line < t.rows {
		return
	}
	line = max(line+s.lines, 0)
	if down := line - (t.rows - 1); down > 0 {
		s.cursor(0, t.rows-1)
		s.str(strings.Repeat("\n", down))
	}
	s.save(b.saved, line, true)
	s.str("\x1b[3J\x1b[H")
	s.saves, s.early = false, true
}

// late sets the buffer's saved cursor, where that was not done early. The buffer is shown.
func (s *snapshot) late(b *buffer) {
	if b == &s.t.normal && s.early && !s.saves {
		return
	}
	s.inexact = s.inexact || s.early && b == &s.t.normal
	c := b.saved
	if b == s.t.on && s.t.oddSet() {
		c.charset = s.t.active // it comes from the other screen's saved cursor: better that one is wrong
	}
	if c != (saved{}) || s.saves {
		s.save(c, c.line-b.history.n, b == &s.t.normal)
	}
	s.saves = false
}

// save saves a cursor, in the row y. Normal tells which screen is shown.
func (s *snapshot) save(c saved, y int, normal bool) {
	t := s.t
	y = min(max(y, 0), t.rows-1)
	s.setPen(look{fg: c.fg, bg: c.bg})
	if c.x >= t.cols && normal {
		s.overhang(c.x, y)
	} else {
		s.cursor(min(c.x, t.cols-1), y)
	}
	if c.charset != 0 {
		s.str("\x1b(", string(c.charset.final()))
	}
	s.str("\x1b7")
	if c.charset != 0 {
		s.str("\x1b(B")
	}
	s.setPen(look{})
}

// settle sets the buffer's tab stops, saved cursor and margins. The buffer is shown.
func (s *snapshot) settle(b *buffer) {
	t := s.t
	var usual tabs
	usual.setFrom(0, t.cols)
	if !b.tabs.equal(&usual, t.cols) {
		s.str("\x1b[3g")
		for x := range t.cols {
			if b.tabs.at(x) {
				s.csi(x+1, "G")
				s.str("\x1bH")
			}
		}
	}
	s.late(b)
	if b.top != 0 || b.bottom != t.rows-1 {
		s.str("\x1b[", strconv.Itoa(b.top+1), ";", strconv.Itoa(b.bottom+1), "r")
	}
}

// equal tells whether both have the same stops on the screen.
func (s *tabs) equal(o *tabs, cols int) bool {
	for x := range cols {
		if s.at(x) != o.at(x) {
			return false
		}
	}
	return true
}

// state writes all that is left, for the buffer that is shown.
func (s *snapshot) state() {
	t := s.t
	if t.modes.origin {
		s.str("\x1b[?6h")
	}
	pen := s.penLook()
	if t.lostPen() {
		s.inexact = true
		pen = pen.nearest()
	}
	if t.oddSet() {
		s.charsets()
	}
	if t.oddSet() || !pen.usual() {
		s.restore(pen)
	}
	s.place(pen.usual())
	if !t.oddSet() {
		s.charsets()
	}
	s.switches()
	if pen.usual() {
		s.setPen(pen)
	} else {
		s.patchPen(pen)
	}
	if t.modes.insert {
		s.str("\x1b[4h")
	}
	s.join()
	s.partial()
}

// oddSet tells whether a character set is in use that was not shifted to: that of a cursor that was restored.
func (t *Terminal) oddSet() bool { return t.active != t.sets[t.level] }

// lostPen tells whether no sequence leads to the pen any more: its flags came from a saved cursor, do not fit its extra,
// and another cursor was saved since. What it prints looks the same, until the next change of an underline or a link.
func (t *Terminal) lostPen() bool {
	saved := t.on.saved
	pen := look{t.pen.fg, t.pen.bg, t.extras.get(t.pen.ext)}
	return !pen.usual() && (saved.fg^pen.fg)&fgUnderline|(saved.bg^pen.bg)&bgExtra != 0
}

// restore restores the cursor, as the command has done: only that leads to a pen with flags that do not fit its extra, and
// to an odd character set.
func (s *snapshot) restore(pen look) {
	saved := s.t.on.saved
	s.setUsual(pen.extraOnly())
	s.str("\x1b8")
	s.pen.fg, s.pen.bg = saved.fg, saved.bg
	if !s.t.oddSet() && saved.charset != 0 {
		s.str("\x0f")
	}
}

func (s *snapshot) penLook() look {
	p := s.t.pen
	return look{p.fg, p.bg, s.t.extras.get(p.ext)}
}

// charsets designates G0 to G3 and shifts.
func (s *snapshot) charsets() {
	t := s.t
	for g, set := range t.sets {
		if set != 0 {
			s.str("\x1b", string("()*+"[g]), string(set.final()))
		}
	}
	s.str([]string{"", "\x0e", "\x1bn", "\x1bo"}[t.level])
}

// place puts the cursor where it is. A wrap that is pending, or lost beyond that, needs a character to be printed.
// That is done only with mayPrint.
func (s *snapshot) place(mayPrint bool) {
	t, b := s.t, s.t.on
	y := b.y
	if t.modes.origin {
		y -= b.top
	}
	last := t.cols - 1
	if b.x <= last {
		s.cursor(b.x, max(y, 0))
		return
	}
	if b == &t.normal {
		s.overhang(b.x, b.y)
		return
	}
	c := b.row().cells[last]
	if c.width() == 0 && !c.hasContent() && b.row().cells[last-1].width() == 2 {
		last--
		c = b.row().cells[last]
	}
	s.cursor(last, max(y, 0))
	if !mayPrint {
		return
	}
	s.setPen(t.lookOf(c))
	if text := t.text(c); text != "" {
		s.str(text)
	} else {
		s.str(" ")
		s.inexact = true
	}
}

// overhang puts the normal screen's cursor beyond its last column. The alternate screen's cursor is taken over as it is.
func (s *snapshot) overhang(x, y int) {
	cols := s.t.cols
	s.str("\x1b[?47h")
	s.cursor(cols-1, y)
	s.str(" ", strings.Repeat("\x1b\\\u200b", x-cols), "\x1b[?47l")
}

// switches writes the modes that do not move the cursor.
func (s *snapshot) switches() {
	m := &s.t.modes
	for _, p := range []int{1, 45, 66, 1004, 2004} {
		if *m.flag(p) {
			s.private(p, true)
		}
	}
	if m.noWrap {
		s.private(7, false)
	}
	if m.blink != blinkUnset {
		s.private(12, m.blink == blinkOn)
	}
	for _, p := range []int{m.mouse, m.encoding} {
		if p != 0 {
			s.private(p, true)
		}
	}
	if m.noCursor {
		s.private(25, false)
	}
	if m.style != 0 {
		s.str("\x1b[", strconv.Itoa(m.style), " q")
	}
	if m.newLine {
		s.str("\x1b[20h")
	}
	if m.synchronized {
		s.private(2026, true)
	}
}

func (s *snapshot) private(p int, on bool) {
	final := "l"
	if on {
		final = "h"
	}
	s.str("\x1b[?", strconv.Itoa(p), final)
}

// join prints the last character again, where a combining one may follow.
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

// source returns what has to be printed to show text with the charset in use.
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

// introduction writes prefix, parameters and intermediates. How far it goes counts from csiEntry or dcsEntry.
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
