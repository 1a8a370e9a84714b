package vt

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLawFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".bin"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			checkLaw(t, &script{rows: 24, cols: 80, scrollback: 1000, steps: []any{b}, cuts: someCuts(r, len(b), 60), mayInexact: 30})
		})
	}
}

// TestWidths compares each code point's width, but for control characters.
func TestWidths(t *testing.T) {
	a := theOracle.ask(t, question{Widths: []rune{0xa0, 0x10ffff}, Cases: []oracleCase{}})
	for i, w := range a.Widths {
		r := rune(0xa0 + i)
		if r >= 0xd800 && r < 0xe000 {
			continue // surrogates, which never come
		}
		if got := runeWidth(r); got != int(w-'0') {
			t.Fatalf("U+%04X: got %d, want %c", r, got, w)
		}
	}
}

// TestLawResizes resizes within soups of text, and compares what reflows.
func TestLawResizes(t *testing.T) {
	checkSoups(t, *soups/2, func(seed uint64) script {
		r := rand.New(rand.NewPCG(seed, 3))
		s := soup{r, 3 + r.IntN(10), 10 + r.IntN(30)}
		sc := script{rows: s.rows, cols: s.cols, scrollback: []int{20, 100, 1000}[r.IntN(3)]}
		total := 0
		for range 3 {
			b := s.plain(40)
			total += len(b)
			sc.steps = append(sc.steps, b, [2]int{2 + r.IntN(14), 5 + r.IntN(40)})
		}
		sc.cuts = someCuts(r, total, 20)
		return sc
	})
}

// TestLawResizeWithoutRoom wraps more rows than the scrollback has room for.
func TestLawResizeWithoutRoom(t *testing.T) {
	lines := []byte(strings.Repeat("a line that will wrap more than once\r\n", 60))
	steps := []any{lines, [2]int{5, 9}, []byte("the end")}
	checkLaw(t, &script{rows: 5, cols: 40, scrollback: 18, steps: steps, cuts: []int{0, len(lines) / 2, len(lines)}})
}

// TestLawResizeOfOldest has a row that has lost the row which it continued.
func TestLawResizeOfOldest(t *testing.T) {
	b := []byte("0123456789x\x1b[44m\x1b[K\x1b[m" + strings.Repeat("\r\ny", 4))
	checkLaw(t, &script{rows: 2, cols: 10, scrollback: 3, steps: []any{b, [2]int{2, 6}}, cuts: []int{len(b)}})
}

// TestLawAlternateResizes resizes while the alternate screen is shown, which a program then redraws.
func TestLawAlternateResizes(t *testing.T) {
	checkSoups(t, *soups/5, func(seed uint64) script {
		r := rand.New(rand.NewPCG(seed, 5))
		s := soup{r, 5 + r.IntN(10), 10 + r.IntN(30)}
		more := [2]int{s.rows + r.IntN(5), s.cols + r.IntN(20)}
		redraw := append([]byte("\x1b[H\x1b[2J\x1b[3J"), s.plain(20)...)
		steps := []any{s.plain(30), []byte("\x1b[?1049h"), s.plain(20), more, redraw, [2]int{s.rows, s.cols}, redraw, []byte("\x1b[?1049l"), s.plain(20)}
		total := 0
		for _, step := range steps {
			if b, ok := step.([]byte); ok {
				total += len(b)
			}
		}
		return script{rows: s.rows, cols: s.cols, scrollback: 50, steps: steps, cuts: someCuts(r, total, 20)}
	})
}

func TestLawRecordings(t *testing.T) {
	files, err := filepath.Glob("testdata/recordings/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	r := rand.New(rand.NewPCG(8, 9))
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".bin"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			checkLaw(t, &script{rows: 24, cols: 80, scrollback: 1000, steps: []any{b}, cuts: someCuts(r, len(b), 150)})
		})
	}
}
