package vt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A script is what a terminal gets, with a snapshot taken at each of cuts.
type script struct {
	rows, cols, scrollback int
	steps                  []any // []byte, or [2]int for a resize
	// cuts says at which offset of all bytes together to take a snapshot.
	cuts []int
	// inexact counts the snapshots that can't be exact, and are not compared. There may be up to mayInexact.
	inexact, mayInexact int
}

// halfCell tells whether there is half of a wide character. A resize leaves the first, insertion the second. xterm.js
// shows the row shifted, and a snapshot leaves a blank.
func (t *Terminal) halfCell() bool {
	rows := slices.Concat(t.normal.rows, t.alt.rows)
	t.normal.history.rows(0, func(packed []byte) {
		r := newRow(t.cols, cell{})
		t.unpack(r, packed)
		rows = append(rows, r)
	})
	for _, r := range rows {
		for i, c := range r.cells {
			if c.width() == 2 && (i == t.cols-1 || r.cells[i+1].ch != chZero) {
				return true
			}
			if c.ch == chZero && (i == 0 || r.cells[i-1].width() != 2) {
				return true
			}
		}
	}
	return false
}

// question writes the script to a Terminal and takes the snapshots.
func (s *script) question() (question, *Terminal) {
	var taken []int
	defer func() { s.cuts = taken }()
	term := New(s.rows, s.cols, s.scrollback)
	q := question{Rows: s.rows, Cols: s.cols, Scrollback: s.scrollback, Steps: s.steps, Cases: []oracleCase{}}
	at, cuts := 0, s.cuts
	take := func(step, offset int) {
		snapshot := term.snapshot(s.scrollback)
		if snapshot.inexact || term.halfCell() {
			s.inexact++
			return
		}
		taken = append(taken, at+offset)
		rows, cols := term.Size()
		q.Cases = append(q.Cases, oracleCase{step, offset, rows, cols, snapshot.out})
	}
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
			take(i, written)
		}
		term.Write(b[written:])
		at += len(b)
	}
	take(len(s.steps), 0)
	return q, term
}

// ownReplies are those that xterm.js does not give: colors, as it is headless, and its version.
var ownReplies = regexp.MustCompile("\x1b(\\]|P>)[^\x1b]*\x1b\\\\")

// checkLaw holds the snapshots to the law: each, with what follows, shows the same as all.
func checkLaw(t *testing.T, s script) {
	t.Helper()
	defer func() {
		if s.inexact > s.mayInexact {
			t.Errorf("%d snapshots are not exact", s.inexact)
		}
	}()
	q, term := s.question()
	a := theOracle.ask(t, q)
	if a.Error != "" {
		t.Fatalf("the oracle failed: %s", a.Error)
	}
	if got := ownReplies.ReplaceAllString(string(term.Replies()), ""); got != a.Replies {
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
			checkLaw(t, script{rows: 24, cols: 80, scrollback: 1000, steps: []any{b}, cuts: someCuts(r, len(b), 60), mayInexact: 30})
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
	for seed := range *soups / 2 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			s := soup{r, 3 + r.IntN(10), 10 + r.IntN(30)}
			sc := script{rows: s.rows, cols: s.cols, scrollback: []int{20, 100, 1000}[r.IntN(3)]}
			total := 0
			for range 3 {
				b := s.plain(40)
				total += len(b)
				sc.steps = append(sc.steps, b, [2]int{2 + r.IntN(14), 5 + r.IntN(40)})
			}
			sc.cuts, sc.mayInexact = someCuts(r, total, 20), 15
			checkLaw(t, sc)
		})
	}
}

// TestLawAlternateResizes resizes while the alternate screen is shown, which a program then redraws.
func TestLawAlternateResizes(t *testing.T) {
	for seed := range *soups / 5 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
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
			checkLaw(t, script{rows: s.rows, cols: s.cols, scrollback: 50, steps: steps, cuts: someCuts(r, total, 20), mayInexact: 15})
		})
	}
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
			checkLaw(t, script{rows: 24, cols: 80, scrollback: 1000, steps: []any{b}, cuts: someCuts(r, len(b), 150)})
		})
	}
}
