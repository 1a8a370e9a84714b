package vt

// sgr changes the pen.
func (t *Terminal) sgr() {
	t.sweep()
	for i := 0; i < t.params.n; i++ {
		p := t.params.get(i)
		switch p {
		case 0:
			t.resetPen()
		case 4:
			style := 1
			if sub := t.params.sub(i); len(sub) > 0 {
				style = int(sub[0])
			}
			t.underline(style)
		case 21:
			t.underline(2)
		case 24:
			t.underline(0)
		case 38, 48, 58:
			i += t.extendedColor(i)
		case 59:
			t.setExtra(func(e *extra) { e.color = colorMask })
		default:
			if !t.pen.color(p) {
				t.pen.attribute(p)
			}
		}
	}
}

// color takes the parameters of 16 colors and of none. It tells whether it was one of these.
func (p *pen) color(n int) bool {
	switch {
	case n >= 30 && n <= 37:
		p.fg = p.fg&^colorMask | color16 | uint32(n-30)
	case n >= 40 && n <= 47:
		p.bg = p.bg&^colorMask | color16 | uint32(n-40)
	case n >= 90 && n <= 97:
		p.fg = p.fg&^colorMask | color16 | uint32(n-90+8)
	case n >= 100 && n <= 107:
		p.bg = p.bg&^colorMask | color16 | uint32(n-100+8)
	case n == 39:
		p.fg &^= colorMask
	case n == 49:
		p.bg &^= colorMask
	default:
		return false
	}
	return true
}

func (p *pen) attribute(n int) {
	switch n {
	case 1:
		p.fg |= fgBold
	case 2:
		p.bg |= bgDim
	case 3:
		p.bg |= bgItalic
	case 5:
		p.fg |= fgBlink
	case 7:
		p.fg |= fgInverse
	case 8:
		p.fg |= fgInvisible
	case 9:
		p.fg |= fgStrike
	case 22:
		p.fg &^= fgBold
		p.bg &^= bgDim
	case 23:
		p.bg &^= bgItalic
	case 25:
		p.fg &^= fgBlink
	case 27:
		p.fg &^= fgInverse
	case 28:
		p.fg &^= fgInvisible
	case 29:
		p.fg &^= fgStrike
	case 53:
		p.bg |= bgOverline
	case 55:
		p.bg &^= bgOverline
	}
}

// resetPen is SGR 0. A hyperlink stays.
func (t *Terminal) resetPen() {
	t.pen.fg, t.pen.bg = 0, 0
	if t.pen.ext != 0 {
		t.setExtra(func(e *extra) { e.style, e.color = 0, 0 })
	}
}

// underline sets the underline's style. One that is not known is a single underline.
func (t *Terminal) underline(style int) {
	if style < 0 || style > 5 {
		style = 1
	}
	t.pen.fg |= fgUnderline
	if style == 0 {
		t.pen.fg &^= fgUnderline
	}
	t.setExtra(func(e *extra) { e.style = uint8(style) })
}

// setExtra changes the pen's extra.
func (t *Terminal) setExtra(change func(*extra)) {
	e := t.extras.get(t.pen.ext)
	change(&e)
	t.pen.ext = t.extras.number(e)
	t.pen.bg &^= bgExtra
	if !e.empty() {
		t.pen.bg |= bgExtra
	}
}

// extendedColor takes parameter i, which is 38, 48 or 58, and what says which color, in subparameters or in the
// parameters after it. It returns how many of these there were.
func (t *Terminal) extendedColor(i int) int {
	// What is said, in order: the target, the mode, a color space, and up to three values. With semicolons, and for the
	// palette, the color space is left out.
	said := [6]int32{2: -1}
	space, taken := 0, 0
	for {
		said[taken+space] = int32(t.params.get(i + taken))
		if sub := t.params.sub(i + taken); len(sub) > 0 {
			for k, v := range sub {
				if said[1] == 5 {
					space = 1
				}
				if taken+k+1+space >= len(said) {
					break
				}
				said[taken+k+1+space] = v
			}
			break
		}
		if said[1] == 5 && taken+space >= 2 || said[1] == 2 && taken+space >= 5 {
			break
		}
		if said[1] != 0 {
			space = 1
		}
		taken++
		if i+taken >= t.params.n || taken+space >= len(said) {
			break
		}
	}
	t.setColor(said)
	return taken
}

func (t *Terminal) setColor(said [6]int32) {
	value := func(i int) uint32 { return uint32(max(said[i], 0)) & 0xff }
	var color uint32
	switch said[1] {
	case 2:
		color = colorRGB | value(3)<<16 | value(4)<<8 | value(5)
	case 5:
		color = color256 | value(3)
	default:
		return
	}
	switch said[0] {
	case 38:
		t.pen.fg = t.pen.fg&^colorMask | color
	case 48:
		t.pen.bg = t.pen.bg&^colorMask | color
	case 58:
		e := t.extras.get(t.pen.ext)
		e.color = color
		t.pen.ext = t.extras.number(e) // its flag stays
	}
}
