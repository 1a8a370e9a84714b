package vt

import (
	"fmt"
	"strings"
)

// reply answers a query. It drops the answer where too many wait already.
func (t *Terminal) reply(s string) {
	if len(t.replies)+len(s) <= maxReplies {
		t.replies = append(t.replies, s...)
	}
}

// reportStatus is DSR, and DECDSR with prefix "?".
func (t *Terminal) reportStatus(prefix string) {
	switch t.params.get(0) {
	case 5:
		if prefix == "" {
			t.reply("\x1b[0n")
		}
	case 6:
		t.reply(fmt.Sprintf("\x1b[%s%d;%dR", prefix, t.on.y+1, t.on.x+1))
	}
}

// What DECRPM says of a mode.
const (
	modeUnknown = iota
	modeSet
	modeReset
	modeAlwaysSet
	modeNeverSet
)

func modeIs(set bool) int {
	if set {
		return modeSet
	}
	return modeReset
}

// reportMode is DECRQM.
func (t *Terminal) reportMode(ansi bool) {
	p := t.params.get(0)
	if ansi {
		t.reply(fmt.Sprintf("\x1b[%d;%d$y", p, t.ansiMode(p)))
		return
	}
	t.reply(fmt.Sprintf("\x1b[?%d;%d$y", p, t.privateMode(p)))
}

func (t *Terminal) ansiMode(p int) int {
	switch p {
	case 2:
		return modeNeverSet
	case 4:
		return modeIs(t.modes.insert)
	case 12:
		return modeAlwaysSet
	case 20:
		return modeIs(t.modes.newLine)
	}
	return modeUnknown
}

func (t *Terminal) privateMode(p int) int {
	if flag := t.modes.flag(p); flag != nil {
		return modeIs(*flag)
	}
	switch p {
	case 6:
		return modeIs(t.modes.origin)
	case 7:
		return modeIs(t.modes.wraps())
	case 8:
		return modeAlwaysSet
	case 1048:
		return modeSet
	case 9, 1000, 1002, 1003:
		return modeIs(t.modes.mouse == p)
	case 12:
		return modeIs(t.modes.blink == blinkOn)
	case 25:
		return modeIs(!t.modes.noCursor)
	case 47, 1047, 1049:
		return modeIs(t.on == &t.alt)
	case 67, 1005, 1015:
		return modeNeverSet
	case 1006, 1016:
		return modeIs(t.modes.encoding == p)
	}
	return modeUnknown
}

// dcs does a device control string. The only one is DECRQSS, which asks for a setting.
func (t *Terminal) dcs(intermediates uint32, final byte, payload string) {
	if intermediates != '$' || final != 'q' {
		return
	}
	answer := "0$r"
	switch payload {
	case `"q`:
		answer = fmt.Sprintf(`1$r%d"q`, t.pen.bg&bgProtected/bgProtected)
	case `"p`:
		answer = `1$r61;1"p`
	case "r":
		answer = fmt.Sprintf("1$r%d;%dr", t.on.top+1, t.on.bottom+1)
	case "m":
		answer = "1$r0m"
	case " q":
		answer = "1$r2 q"
		if t.modes.blink == blinkOn {
			answer = "1$r1 q"
		}
	}
	t.reply("\x1bP" + answer + "\x1b\\")
}

// colorReply returns a color as replies give it: with four digits for each part. A color that is not set is that of
// xterm's palette, and white on black.
func (t *Terminal) colorReply(key int) string {
	spec, ok := t.colors[key]
	if !ok {
		return defaultColor(key)
	}
	var parts []string
	if rest, ok := strings.CutPrefix(strings.ToLower(spec), "rgb:"); ok {
		parts = strings.Split(rest, "/")
	} else {
		n := (len(spec) - 1) / 3
		parts = []string{spec[1 : 1+n], spec[1+n : 1+2*n], spec[1+2*n:]}
	}
	for i, p := range parts {
		parts[i] = strings.Repeat(p, 4)[:4]
	}
	return "rgb:" + strings.ToLower(strings.Join(parts, "/"))
}

// defaultColor returns a color of xterm's palette: 16 colors, a cube of 6 by 6 by 6, and 24 grays.
func defaultColor(key int) string {
	var r, g, b int
	switch {
	case key == special(11):
	case key >= 256:
		r, g, b = 0xff, 0xff, 0xff
	case key >= 232:
		r = 8 + 10*(key-232)
		g, b = r, r
	case key >= 16:
		level := func(n int) int {
			if n == 0 {
				return 0
			}
			return 55 + 40*n
		}
		key -= 16
		r, g, b = level(key/36), level(key/6%6), level(key%6)
	default:
		bright := 0xcd
		if key >= 8 {
			bright = 0xff
		}
		r, g, b = key&1*bright, key>>1&1*bright, key>>2&1*bright
	}
	return fmt.Sprintf("rgb:%02x%02x/%02x%02x/%02x%02x", r, r, g, g, b, b)
}
