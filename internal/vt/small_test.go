package vt

import (
	"fmt"
	"strings"
	"testing"
)

// sequences are those that the model knows, and some that it does not, one each.
var sequences = []string{
	// Control characters, C0 and C1.
	"\a", "\b", "\t", "\n", "\v", "\f", "\r", "\x0e", "\x0f", "\x18", "\x1a", "\x7f", "\u0084", "\u0085", "\u0088", "\u008d", "\u0090x\u009c", "\u009b1mx", "\u009d2;t\u009c",
	// Escape sequences.
	"\x1b7x\x1b8", "\x1bD", "\x1bE", "\x1bH\r\t", "\x1bM", "\x1bc", "\x1b=", "\x1b>", "\x1bn", "\x1bo", "\x1b|", "\x1b}", "\x1b~", "\x1b#8", "\x1b%@", "\x1b%G", "\x1b\\", "\x1bZ",
	"\x1b(0lqk", "\x1b(A#", "\x1b)4\x0e#[", "\x1b*5\x1bn{", "\x1b+R\x1bo@", "\x1b-Q\x0e`", "\x1b.K\x1bn~", "\x1b(Y#", "\x1b(6[", "\x1b(Z[", "\x1b(7[", "\x1b(=_", "\x1b(C\\", "\x1b(E]", "\x1b(H@",
	"\x1b(0q\x1b7\x1b(B\x1b8q", "\x1b /x", "\x1b(\"0q",
	// Moving.
	"\x1b[A", "\x1b[9B", "\x1b[2C", "\x1b[D", "\x1b[2E", "\x1b[F", "\x1b[7G", "\x1b[2;5H", "\x1b[;3f", "\x1b[2I", "\x1b[3`", "\x1b[2a", "\x1b[3d", "\x1b[e", "\x1b[2Z", "\x1b[99;99H", "\x1b[0C",
	"\x1b[s\x1b[H\x1b[u", "\x1b[2;3r", "\x1b[2;3r\x1b[?6h\x1b[2;2Hx", "\x1b[3;2r", "\x1b[r", "\x1b[2;99r",
	// Editing.
	"\x1b[2@", "\x1b[J", "\x1b[1J", "\x1b[2J", "\x1b[3J", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[L", "\x1b[M", "\x1b[2P", "\x1b[S", "\x1b[T", "\x1b[3X", "\x1b[5b", "中\x1b[2b", "\x1b[ @", "\x1b[2 A",
	"\x1b['}", "\x1b[2'~", "\x1b[1\"qab\x1b[0\"qcd\x1b[?2K", "\x1b[1\"qab\x1b[2\"qcd\x1b[?2J", "\x1b[4hab\x1b[4l", "\x1b[?7lmany words that do not fit\x1b[?7h", "\x1b[44m\x1b[K\x1b[L\n\x1bM",
	// Looks.
	"\x1b[1;2;3;4;5;7;8;9;53mx\x1b[22;23;24;25;27;28;29;55my", "\x1b[31;42mx\x1b[39;49my", "\x1b[91;102mx", "\x1b[38;5;1;48;5;200mx", "\x1b[38;2;1;2;3;48;2;4;5;6mx", "\x1b[38:2::1:2:3mx",
	"\x1b[38:2:1:2:3mx", "\x1b[48:5:7mx", "\x1b[4:3;58:2::9:8:7mx\x1b[59my", "\x1b[4:0mx", "\x1b[21mx", "\x1b[4:2m\x1b[4:4mx\x1b[4:5my", "\x1b[58;5;3;4mx", "\x1b[38;5mx", "\x1b[;1;;mx", "\x1b[1:2mx",
	"\x1b[4m\x1b7\x1b[m\x1b8x", "\x1b]8;;http://x/\x1b\\a\x1b]8;;\x1b\\b", "\x1b]8;id=7:k=v;http://x/;y\aa\nb\x1b]8;;\ac", "\x1b]8;bad\ax", "\x1b7\x1b]8;;u\a\x1b8x\x1b[1my",
	// Modes.
	"\x1b[?1h", "\x1b[?3h", "\x1b[?9h", "\x1b[?12h\x1b[?12l", "\x1b[?25l", "\x1b[?45h\r\b\b", "\x1b[?66h", "\x1b[?1000h", "\x1b[?1002;1006h", "\x1b[?1003h\x1b[?1016h", "\x1b[?1004h",
	"\x1b[?2004h", "\x1b[?2026h", "\x1b[20hx\n", "\x1b[?2h", "\x1b[?47hx\x1b[?47l", "\x1b[?1047hx", "\x1b[?1049hx\x1b[?1049l", "\x1b[?1048hx\x1b[?1048l", "\x1b[?1049h\x1b[2;3r\x1bHx", "\x1b[!p",
	"\x1b[1 q", "\x1b[4 q", "\x1b[5 q\x1b[ q", "\x1b[6 q", "\x1b[8 q", "\x1b[g", "\x1b[3g\t",
	// Titles, colors, queries, and what means nothing.
	"\x1b]0;t\a", "\x1b]1;i\x1b\\", "\x1b]2;t中\u009c", "\x1b]4;1;#fff;2;rgb:1/2/3\a", "\x1b]10;#123;?;#456\a", "\x1b]104;1\a", "\x1b]104\a", "\x1b]110\a", "\x1b]52;c;eA==\a", "\x1b]2;t\x18",
	"\x1b[c", "\x1b[>c", "\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[?25$p", "\x1b[4$p", "\x1bP$qm\x1b\\", "\x1bPq#1\x1b\\", "\x1bP1;2?x\x1b\\", "\x1b_app\x1b\\", "\x1b^pm\x1b\\", "\x1bXsos\x1b\\",
	"\x1b[?u", "\x1b[>4;2m", "\x1b[18t", "\x1b[22;0;0t", "\x1b[1\n;2\rH", "\x1b[1\x1b[2mx", "\x1b[1é", "\x1b[<1;2M", "\x1b[1<mx", "\x1b[ 1px",
	"\x1b[1;2;6;7;8;9;12$p", "\x1b[2$p\x1b[12$p\x1b[20$p\x1b[5$p", allModes("\x1b[?%d$p"), allModes("\x1b[?%dh\x1b[?%[1]d$p"), "\x1bP$q\"q\x1b\\\x1bP$q\"p\x1b\\\x1bP$qr\x1b\\\x1bP$q q\x1b\\",
	"\x1b[?12h\x1bP$q q\x1b\\", "\x1bP$qm\x18", "\x1bP$q\x7fm\u009c", "\x1bP1;2$ q", "\x1bP\u0085", "\x1bP?1é", "\x1b(é", "\x1b#\x7f8", "\x1b é", "\x1b]2;a\u0084b", "\x1bP é", "\x1b]999999;x\a",
	"\x1b[5;12H\x1b[?45hab\b\b\b\b", "\x1b[?45h\x1b[5;12H中\b\b\b", "\x1b[?45h\x1b[3;1H\b\b\x1b[1;1H\b", "\x1b[5;1H0123456789abcdef\n\n\n\n\x1b[3J\x1b[H\x1bM", "\x1b[?47h\x1b[5;1H0123456789abcdef\n\n\n\n\x1b[H\x1bM",
	"\x1b[" + strings.Repeat("1;", 31) + "31mx", "\x1b[" + strings.Repeat("1;", 32) + "31mx", "\x1b[4" + strings.Repeat(":2", 32) + ";31mx", "\x1b[" + strings.Repeat("1;", 32) + "4:3mx",
	"\x1b[2;1Hé", "\x1b[2;2Hé", "\x1b[2;2H\x1b[31mx", "\x1b[2;1H\x1b[31mx", "\x1b[2;2H中", "\x1b[2;2H\x1b[X", "\x1b[2;1H\x1b[P", "\x1b[2;1H\x1b[X", "\x1b[2;12Hx\x1b[1J", "0123456789abcdef\n\n\n\n\n\n\x1b[2;12Hx\x1b[1J", "\x1b[3;12H\x1b[?1J\x1b[?J\x1b[?1K",
	// Characters of all widths.
	"e\u0301", "\u0301", "\u200d", "👩\u200d👧", "\u2764\ufe0f", "한글", "ᄒ\u1161\u11ab", "\xff", "\xe4\xb8x", "\xc3(", "\xed\xa0\x80", "\ufeff", "\xf4\x90\x80\x80", "a\x7f\u0301", "a\x1b[m\u0301",
}

// allModes returns format for each DEC mode that means something.
func allModes(format string) string {
	var b strings.Builder
	for _, m := range []int{1, 3, 6, 7, 8, 9, 12, 25, 45, 66, 67, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1048, 2004, 2026, 47, 1047, 1049, 31} {
		fmt.Fprintf(&b, format, m)
	}
	return b.String()
}

// TestLawSequences puts each sequence into the middle of text, at the right edge, and at the bottom, and cuts everywhere.
func TestLawSequences(t *testing.T) {
	for i, seq := range sequences {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			for _, before := range []string{"one\r\n中文 two\r\nthree\x1b[2;3H", strings.Repeat("\r\nab中c", 6) + strings.Repeat("z", 6)} {
				b := []byte(before + seq + "Z\r\n\u0301y")
				cuts := everyCut(len(b))[len(before):]
				checkLaw(t, &script{rows: 5, cols: 12, scrollback: 100, steps: []any{b}, cuts: cuts})
			}
		})
	}
}

// TestLawOddCells has cells that only an unusual order of sequences leads to.
func TestLawOddCells(t *testing.T) {
	for name, input := range map[string]string{
		"underlined without a style": "\x1b[4m\x1b7\x1b[m\x1b8\x1b]8;;\x1b\\ \x1b[m",
		"two null cells at the edge": "\x1b[2m\x1b[1;11H中\x1b[1;12Hx\x1b[1;12H中",
		"no room for a wide one":     "\x1b[?7l0123456789中文e",
		"erased above the last row":  "\x1b[5;12Hx\x1b[1J",
	} {
		t.Run(name, func(t *testing.T) {
			b := []byte(input)
			checkLaw(t, &script{rows: 5, cols: 12, scrollback: 100, steps: []any{b}, cuts: []int{len(b)}})
		})
	}
}

// TestLawParser takes the parser from each of its states with each kind of character.
func TestLawParser(t *testing.T) {
	states := []string{"", "\x1b", "\x1b#", "\x1b[", "\x1b[?1", "\x1b[ ", "\x1b[1<", "\x1b_", "\x1b]", "\x1b]2;t", "\x1bP", "\x1bP1", "\x1bP1<", "\x1bP$", "\x1bP$q"}
	next := "\x00\a\n\x18\x1a\x1b\x1c 0:;<?@PX[\\]^_~\x7f\u0080\u0084\u0090\u0098\u0099\u009b\u009c\u009d\u009e\u00a0中"
	for _, state := range states {
		for _, c := range next {
			for _, after := range []string{"", "1", "8m", "\x1b\\e\u0301"} {
				checkLaw(t, &script{rows: 3, cols: 10, scrollback: 10, steps: []any{[]byte("x" + state + string(c) + after)}})
			}
		}
	}
}

func TestReplies(t *testing.T) {
	for query, want := range map[string]string{
		"\x1b]4;1;?\a":                        "\x1b]4;1;rgb:cdcd/0000/0000\x1b\\",
		"\x1b]4;231;?\a":                      "\x1b]4;231;rgb:ffff/ffff/ffff\x1b\\",
		"\x1b]4;232;?\a":                      "\x1b]4;232;rgb:0808/0808/0808\x1b\\",
		"\x1b]4;7;#123;7;?\a":                 "\x1b]4;7;rgb:1111/2222/3333\x1b\\",
		"\x1b]11;?\a":                         "\x1b]11;rgb:0000/0000/0000\x1b\\",
		"\x1b]11;rgb:12/34/56\a\x1b]11;?\a":   "\x1b]11;rgb:1212/3434/5656\x1b\\",
		"\x1b]11;#fff\a\x1b]111\a\x1b]11;?\a": "\x1b]11;rgb:0000/0000/0000\x1b\\",
		"\x1b[>q":                             "\x1bP>|wsep\x1b\\",
		"\x1b[3;4H\x1b[6n":                    "\x1b[3;4R",
	} {
		term := written(query)
		if got := string(term.Replies()); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
		if got := term.Replies(); len(got) > 0 {
			t.Errorf("%q: answered twice: %q", query, got)
		}
	}
	if n := len(written(strings.Repeat("\x1b[c", 1e5)).Replies()); n > maxReplies {
		t.Errorf("%d bytes of replies", n)
	}
}

func TestBetween(t *testing.T) {
	for s, want := range map[string]bool{"": true, "a": true, "\x1b[1m": true, "é": true, "\x1b": false, "\x1b[1": false, "\xc3": false, "\x1b]2;t": false, "\x1b]2;t\x1b": false} {
		if got := written(s).Between(); got != want {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestSnapshotOfSomeScrollback(t *testing.T) {
	term := written(strings.Repeat("line\r\n", 50))
	for _, n := range []int{0, 7, 46, 1000} {
		again := New(5, 12, 100)
		again.Write(term.Snapshot(n))
		if got, want := again.Scrollback(), min(n, term.Scrollback()); got != want {
			t.Errorf("%d: got %d lines, want %d", n, got, want)
		}
	}
}

func TestFresh(t *testing.T) {
	term := written("\x1b[?25l\x1b[20h\x1b[?1049h\x1b[31mx\x1b]2;t")
	term.Write([]byte(Fresh))
	if got, want := string(term.Snapshot(100)), string(New(5, 12, 100).Snapshot(100)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestReset resets after soups: nothing stays that the command has set.
func TestReset(t *testing.T) {
	for seed := range uint64(100) {
		term := soupTerminal(seed)
		term.Write(term.Reset())
		if m := term.modes; m != (modes{blink: m.blink}) || m.blink == blinkOn {
			t.Errorf("%d: modes: %+v", seed, m)
		}
		if pen := (look{term.pen.fg, term.pen.bg, term.extras.get(term.pen.ext)}); pen != (look{}) {
			t.Errorf("%d: pen: %+v", seed, pen)
		}
		if term.shift != (shift{}) || term.on != &term.normal || len(term.colors) > 0 || !term.Between() {
			t.Errorf("%d: %+v %v %v", seed, term.shift, term.on == &term.normal, term.colors)
		}
		if b := term.normal; b.top != 0 || b.bottom != term.rows-1 {
			t.Errorf("%d: margins %d to %d", seed, b.top, b.bottom)
		}
	}
}

func TestBounds(t *testing.T) {
	for name, s := range map[string]string{
		"title":       "\x1b]2;" + strings.Repeat("t", 1<<20) + "\a",
		"open string": "\x1b]2;" + strings.Repeat("t", 1<<20),
		"link":        "\x1b]8;;" + strings.Repeat("u", 1<<15) + "\ax",
		"combining":   "a" + strings.Repeat("\u0301", 1<<16),
		"parameters":  "\x1b[" + strings.Repeat("1;2:3;", 1<<16),
		"prefix":      "\x1b[" + strings.Repeat("!", 1<<16),
		"repeat":      "a" + strings.Repeat("\x1b[2147483647bx", 100),
		"scroll":      strings.Repeat("\x1b[2147483647S\x1b[2147483647T\x1b[2147483647L\x1b[2147483647M\x1b[2147483647@\x1b[2147483647P", 1000),
		"tabs":        strings.Repeat("\x1b[2147483647I\x1b[2147483647Z", 1000),
		"links":       manyLinks(20000),
		"colors":      strings.Repeat("\x1b]4;1;#fff;2;#fff;999;#fff\a", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			used := memory(func() *Terminal {
				term := New(24, 80, 100)
				term.Write([]byte(s))
				if n := len(term.Snapshot(100)); n > 1<<20 {
					t.Errorf("a snapshot of %d bytes", n)
				}
				checkBounds(t, New(24, 80, 50))
				return term
			})
			if used > 1<<20 {
				t.Errorf("%d KiB", used>>10)
			}
		})
	}
	if rows, cols := New(1<<30, -1, 1).Size(); rows != maxSize || cols != minCols {
		t.Errorf("size %d, %d", rows, cols)
	}
}
