package vt

import (
	"flag"
	"fmt"
	"math/rand/v2"
)

// A soup is sequences of all kinds in any order. The same seed makes the same.
type soup struct {
	*rand.Rand
	rows, cols int
}

func (s soup) pick(from ...string) string { return from[s.IntN(len(from))] }

// number returns mostly small numbers, some beyond the screen, and some none.
func (s soup) number() string {
	switch s.IntN(12) {
	case 0:
		return ""
	case 1:
		return "0"
	case 2:
		return fmt.Sprint(s.IntN(2 * s.cols))
	case 3:
		return "300"
	}
	return fmt.Sprint(1 + s.IntN(s.rows+2))
}

func (s soup) text() string {
	return s.pick("a", "hello world", "0123456789012345678901234567890123456789", "中", "中文字", "e\u0301", "\u0301", "👍", "─┼", "\u200b",
		"ｶﾞ", "x\u0301\u0302y", " ", "    ", "\u3000", "#@[]{|}~`", "\u2764\ufe0f", "\u00a0", "the quick brown fox jumps over the lazy dog ",
		"wide中wide文wide字wide中wide文")
}

func (s soup) sgr() string {
	p := ""
	for range 1 + s.IntN(3) {
		p += s.pick("0", "1", "2", "3", "4", "5", "7", "8", "9", "21", "22", "23", "24", "25", "27", "28", "29", "31", "42", "95", "106", "39", "49",
			"38;5;200", "48;5;17", "38;2;1;2;3", "48;2;250;128;7", "38:2::9:8:7", "48:5:99", "4:0", "4:3", "4:4", "58:2::1:2:3", "58;5;7", "53", "55",
			"", "38", "38;2", "48;5", "58:5:3", "4:9", "100;31", "38:2:1:2:3") + ";"
	}
	return "\x1b[" + p[:len(p)-1] + "m"
}

func (s soup) csi() string {
	return "\x1b[" + s.number() + s.pick("@", "A", "B", "C", "D", "E", "F", "G", "I", "J", "K", "L", "M", "P", "S", "T", "X", "Z", "`", "a", "b", "d", "e",
		" @", " A", "'}", "'~", "?J", "?K")
}

func (s soup) mode() string {
	return "\x1b[" + s.pick("?1", "?6", "?7", "?12", "?25", "?45", "?66", "?9", "?1000", "?1002", "?1003", "?1004", "?1006", "?1016", "?2004", "?2026",
		"?47", "?1047", "?1048", "?1049", "4", "20", "?1;1006", "?2") + s.pick("h", "h", "l")
}

func (s soup) other() string {
	return s.pick("\r", "\n", "\r\n", "\r\n", "\b", "\t", "\v", "\x0e", "\x0f", "\a", "\x1b7", "\x1b8", "\x1bD", "\x1bE", "\x1bM", "\x1bH", "\x1b=", "\x1b>",
		"\x1b(0", "\x1b(B", "\x1b)0", "\x1b)A", "\x1b*4", "\x1b+K", "\x1bn", "\x1bo", "\x1b%G", "\x1b~", "\x1b#8", "\x1b[!p", "\x1b[s", "\x1b[u", "\x1bc",
		"\x1b[0g", "\x1b[3g", "\x1b[1\"q", "\x1b[0\"q", "\x1b[2 q", "\x1b[5 q", "\x1b[0 q", "\x1b[9 q", "\u0084", "\u0085", "\u008d", "\u009b1m", "\x18", "\x7f")
}

func (s soup) osc() string {
	return "\x1b]" + s.pick("8;;http://a.example/", "8;id=1;http://b.example/x;y", "8;;", "8;;", "0;title", "2;two", "1;icon", "4;1;#fff", "4;1;?", "10;?", "11;#123456",
		"110", "104", "8;id=1;", "9;x", "x;y", "2", "4;300;#fff;7;rgb:1/2/3") + s.pick("\a", "\x1b\\", "\u009c")
}

func (s soup) query() string {
	return s.pick("\x1b[c", "\x1b[>c", "\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[?7$p", "\x1b[4$p", "\x1b[?1049$p", "\x1b[?12$p", "\x1bP$qm\x1b\\", "\x1bP$qr\x1b\\",
		"\x1bP$q\"q\x1b\\", "\x1bP$qx\x1b\\", "\x1bPq#0\x1b\\", "\x1b_x\x1b\\", "\x1b^x中y\x1b\\", "\x1b[?1000$p", "\x1b[?8$p")
}

func (s soup) noise() string {
	return s.pick("\x1b[1;2", "\x1b[?", "\x1b", "\xe4\xb8", "\xff", "\x1b[<1m", "\x1b[1:2:3m", "\x1b[ !q", "\x1b[1\n2C", "\x1b[31\x18", "\x1b(", "\xc3(", "\x1bP1", "\x1b]0;a\x18",
		"\x1b[1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;4;31m")
}

func (s soup) margins() string {
	return fmt.Sprintf("\x1b[%s;%sr", s.number(), s.number())
}

func (s soup) place() string {
	return fmt.Sprintf("\x1b[%s;%sH", s.number(), s.number())
}

// make returns n ingredients.
func (s soup) make(n int) []byte {
	var b []byte
	for range n {
		kind := s.IntN(100)
		switch {
		case kind < 30:
			b = append(b, s.text()...)
		case kind < 42:
			b = append(b, s.sgr()...)
		case kind < 60:
			b = append(b, s.csi()...)
		case kind < 68:
			b = append(b, s.mode()...)
		case kind < 86:
			b = append(b, s.other()...)
		case kind < 89:
			b = append(b, s.osc()...)
		case kind < 91:
			b = append(b, s.query()...)
		case kind < 92:
			b = append(b, s.noise()...)
		case kind < 94:
			b = append(b, s.margins()...)
		default:
			b = append(b, s.place()...)
		}
	}
	return b
}

// soupTerminal returns a terminal of 5 by 20 that got a soup.
func soupTerminal(seed uint64) *Terminal {
	term := New(5, 20, 50)
	term.Write(soup{rand.New(rand.NewPCG(seed, 11)), 5, 20}.make(60))
	return term
}

// soups is how many seeds are tried.
var soups = flag.Uint64("soups", 100, "how many soups to try")

// plain returns n ingredients of which most are text that wraps.
func (s soup) plain(n int) []byte {
	var b []byte
	for range n {
		switch s.IntN(8) {
		case 0, 1, 2:
			b = append(b, "\r\n"...)
		case 3:
			b = append(b, s.sgr()...)
		case 4:
			b = append(b, s.pick("\x1b[K", "\x1b[A\r", "\x1b[H", "\x1b[5;3H", "\x1b[2J", "\x1b7", "\x1b8")...)
		default:
			b = append(b, s.pick("a", "hello world", "0123456789012345678901234567890123456789", "中文字", "wide中wide文wide字", "     ",
				"the quick brown fox jumps over the lazy dog ", "é")...)
		}
	}
	return b
}
