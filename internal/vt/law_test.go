package vt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A script is what a terminal gets, with a snapshot taken at each of cuts.
type script struct {
	rows, cols, scrollback int
	steps                  []any // []byte, or [2]int for a resize
	// cuts says at which offset of all bytes together to take a snapshot.
	cuts []int
}

// lostPens counts the snapshots that can't be exact.
var lostPens int

// question writes the script to a Terminal and takes the snapshots.
func (s *script) question() (question, *Terminal) {
	var taken []int
	defer func() { s.cuts = taken }()
	term := New(s.rows, s.cols, s.scrollback)
	q := question{Rows: s.rows, Cols: s.cols, Scrollback: s.scrollback, Steps: s.steps, Cases: []oracleCase{}}
	at, cuts := 0, s.cuts
	for i, step := range s.steps {
		b, ok := step.([]byte)
		if !ok {
			size := step.([2]int)
			term.Resize(size[0], size[1])
			continue
		}
		written := 0
		for len(cuts) > 0 && cuts[0] <= at+len(b) {
			term.Write(b[written : cuts[0]-at])
			written = cuts[0] - at
			cuts = cuts[1:]
			if term.lostPen() {
				lostPens++
				continue
			}
			taken = append(taken, at+written)
			rows, cols := term.Size()
			q.Cases = append(q.Cases, oracleCase{i, written, rows, cols, term.Snapshot(s.scrollback)})
		}
		term.Write(b[written:])
		at += len(b)
	}
	return q, term
}

var colorReplies = regexp.MustCompile("\x1b\\][^\x1b]*\x1b\\\\")

// checkLaw holds the snapshots to the law: each, with what follows, shows the same as all.
func checkLaw(t *testing.T, s script) {
	t.Helper()
	q, term := s.question()
	a := theOracle.ask(t, q)
	if a.Error != "" {
		t.Fatalf("the oracle failed: %s", a.Error)
	}
	// Colors are a browser's: headless, xterm.js does not tell them.
	if got := colorReplies.ReplaceAllString(string(term.Replies()), ""); got != a.Replies {
		t.Errorf("replies: got %q, want %q", got, a.Replies)
	}
	for i, d := range a.Differences {
		if i == 3 {
			t.Errorf("and %d more of %d", len(a.Differences)-i, len(s.cuts))
			break
		}
		want, got := firstDifference(d.Want, d.Got)
		c := q.Cases[d.Case]
		t.Errorf("at %d: %s:\nwant %q\ngot  %q\nsnapshot %.1500q", s.cuts[d.Case], d.Key, want, got, c.Snapshot)
	}
}

// firstDifference returns the first lines that differ.
func firstDifference(want, got string) (string, string) {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		line := func(l []string) string {
			if i < len(l) {
				return l[i]
			}
			return "(none)"
		}
		if line(w) != line(g) {
			return fmt.Sprint(i, ": ", line(w)), fmt.Sprint(i, ": ", line(g))
		}
	}
	return want, got
}

// everyCut returns each offset up to n.
func everyCut(n int) []int {
	cuts := make([]int, n+1)
	for i := range cuts {
		cuts[i] = i
	}
	return cuts
}

// someCuts returns count offsets up to n, sorted, the last of them n.
func someCuts(r *rand.Rand, n, count int) []int {
	if n <= count {
		return everyCut(n)
	}
	chosen := make([]bool, n+1)
	for range count {
		chosen[r.IntN(n)] = true
	}
	chosen[n] = true
	var cuts []int
	for i, c := range chosen {
		if c {
			cuts = append(cuts, i)
		}
	}
	return cuts
}

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
			checkLaw(t, script{24, 80, 1000, []any{b}, someCuts(r, len(b), 60)})
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
