package vt

import "strconv"

// A look is how characters look, as a snapshot's reader has it: a pen, with the extra itself.
type look struct {
	fg, bg uint32
	extra
}

func (t *Terminal) lookOf(c cell) look {
	return look{c.fg, c.bg, t.extras.get(c.ext)}
}

// usual tells whether SGR and OSC 8 lead to the look. Restoring a cursor leads to others.
func (l look) usual() bool {
	return (l.bg&bgExtra != 0) == !l.empty() && (l.fg&fgUnderline != 0) == (l.style != 0)
}

// nearest returns the usual look that shows the same.
func (l look) nearest() look {
	switch {
	case l.fg&fgUnderline == 0 && l.bg&bgExtra == 0:
		l.extra = extra{color: l.color}
	case l.fg&fgUnderline == 0:
		l.style = 0
	default:
		l.style = max(l.style, 1)
	}
	l.bg &^= bgExtra
	if !l.empty() {
		l.bg |= bgExtra
	}
	return l
}

// setPen makes the reader's pen that of the look.
func (s *snapshot) setPen(l look) {
	if s.pen == l {
		return
	}
	if l.usual() {
		s.setUsual(l)
		return
	}
	// The extra does not fit the flags. Saving and restoring the cursor keeps the flags alone.
	flags := look{fg: l.fg, bg: l.bg}
	switch {
	case l.fg&fgUnderline != 0:
		flags.style = 1
		flags.bg |= bgExtra
	case l.bg&bgExtra != 0:
		flags.uri = "about:blank"
	}
	s.setUsual(flags)
	s.str("\x1b7")
	s.setUsual(l.extraOnly())
	s.str("\x1b8")
	if l.bg&bgExtra == 0 && l.empty() {
		s.link(look{}) // which clears the flag of the extra
		flags.bg &^= bgExtra
	}
	s.pen = look{flags.fg, flags.bg, l.extra}
	s.saves = true
}

// extraOnly returns the usual look that has this extra.
func (l look) extraOnly() look {
	e := look{extra: l.extra}
	if l.style != 0 {
		e.fg = fgUnderline
	}
	if !l.empty() {
		e.bg = bgExtra
	}
	return e
}

const (
	fgFlags = fgInverse | fgBold | fgUnderline | fgBlink | fgInvisible | fgStrike
	bgFlags = bgItalic | bgDim | bgProtected | bgOverline | bgExtra
)

func (s *snapshot) setUsual(l look) {
	if s.pen.id != l.id || s.pen.uri != l.uri {
		s.link(l)
	}
	var p []byte
	from := &s.pen
	if !from.usual() || from.fg&^l.fg&fgFlags|from.bg&^l.bg&(bgFlags&^bgExtra) != 0 || from.style != l.style || from.color != l.color {
		p = append(p, ";0"...)
		*from = look{extra: extra{id: l.id, uri: l.uri}}
	}
	p = appendFlags(p, l.fg&^from.fg, l.bg&^from.bg)
	if l.style != from.style {
		p = append(append(p, ";4:"...), '0'+l.style)
		if l.style == 1 {
			p = p[:len(p)-2]
		}
	}
	if l.fg&colorMask != from.fg&colorMask {
		p = appendColor(p, l.fg, 30)
	}
	if l.bg&colorMask != from.bg&colorMask {
		p = appendColor(p, l.bg, 40)
	}
	if l.color != from.color {
		p = appendUnderlineColor(p, l.color)
	}
	if len(p) > 0 {
		s.str("\x1b[", string(p[1:]), "m")
	}
	if l.bg&^from.bg&bgProtected != 0 {
		s.str("\x1b[1\"q")
	}
	s.pen = l
}

// patchPen changes colors and flags of the pen one by one, so that its extra and the flags of that stay.
func (s *snapshot) patchPen(l look) {
	from := &s.pen
	var p []byte
	for _, f := range [...]struct {
		cleared bool
		sgr     string
	}{
		{from.fg&^l.fg&fgBold|from.bg&^l.bg&bgDim != 0, ";22"},
		{from.bg&^l.bg&bgItalic != 0, ";23"},
		{from.fg&^l.fg&fgBlink != 0, ";25"},
		{from.fg&^l.fg&fgInverse != 0, ";27"},
		{from.fg&^l.fg&fgInvisible != 0, ";28"},
		{from.fg&^l.fg&fgStrike != 0, ";29"},
		{from.bg&^l.bg&bgOverline != 0, ";55"},
	} {
		if f.cleared {
			p = append(p, f.sgr...)
		}
	}
	p = appendFlags(p, l.fg, l.bg)
	p = appendColor(appendColor(p, l.fg, 30), l.bg, 40)
	s.str("\x1b[", string(p[1:]), "m")
	if (from.bg^l.bg)&bgProtected != 0 {
		s.str("\x1b[", strconv.Itoa(int(l.bg&bgProtected/bgProtected)), "\"q")
	}
	s.pen = l
}

func (s *snapshot) link(l look) {
	s.str("\x1b]8;")
	if l.id != "" {
		s.str("id=", l.id)
	}
	s.str(";", l.uri, "\x1b\\")
}

// appendFlags writes the SGR parameters that set flags, a semicolon before each.
func appendFlags(p []byte, fg, bg uint32) []byte {
	for _, f := range [...]struct {
		set bool
		sgr string
	}{
		{fg&fgBold != 0, ";1"},
		{bg&bgDim != 0, ";2"},
		{bg&bgItalic != 0, ";3"},
		{fg&fgBlink != 0, ";5"},
		{fg&fgInverse != 0, ";7"},
		{fg&fgInvisible != 0, ";8"},
		{fg&fgStrike != 0, ";9"},
		{bg&bgOverline != 0, ";53"},
	} {
		if f.set {
			p = append(p, f.sgr...)
		}
	}
	return p
}

// appendColor writes the SGR parameters of a color. Base is 30 for the foreground, 40 for the background.
func appendColor(p []byte, color uint32, base int64) []byte {
	v := int64(color & colorValue)
	number := func(n int64) { p = strconv.AppendInt(append(p, ';'), n, 10) }
	switch color & colorMode {
	case colorDefault:
		number(base + 9)
	case color16:
		if v >= 8 {
			v += 60 - 8
		}
		number(base + v)
	case color256:
		number(base + 8)
		number(5)
		number(v)
	case colorRGB:
		number(base + 8)
		number(2)
		number(v >> 16)
		number(v >> 8 & 0xff)
		number(v & 0xff)
	}
	return p
}

// appendUnderlineColor uses colons: a terminal that does not know it skips it as a whole.
func appendUnderlineColor(p []byte, color uint32) []byte {
	v := int64(color & colorValue)
	switch color & colorMode {
	case color256:
		p = strconv.AppendInt(append(p, ";58:5:"...), v, 10)
	case colorRGB:
		p = append(p, ";58:2:"...)
		for _, n := range []int64{v >> 16, v >> 8 & 0xff, v & 0xff} {
			p = strconv.AppendInt(append(p, ':'), n, 10)
		}
	}
	return p
}

func (s *snapshot) penLook() look {
	p := s.t.pen
	return look{p.fg, p.bg, s.t.extras.get(p.ext)}
}

// lostPen tells whether no sequence leads to the pen any more. Its flags came from a saved cursor, they do not fit its
// extra, and another cursor was saved since. Printed characters look the same until an underline or a link changes.
func (t *Terminal) lostPen() bool {
	saved := t.on.saved
	pen := look{t.pen.fg, t.pen.bg, t.extras.get(t.pen.ext)}
	return !pen.usual() && (saved.fg^pen.fg)&fgUnderline|(saved.bg^pen.bg)&bgExtra != 0
}
