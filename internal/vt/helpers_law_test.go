package vt

import (
	"fmt"
	"math/rand/v2"
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

// checkSoups holds count soups to the law. One soup may have few snapshots that are exact, but of all soups most are.
func checkSoups(t *testing.T, count uint64, soup func(seed uint64) script) {
	exact, inexact := 0, 0
	for seed := range count {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := soup(seed)
			s.mayInexact = len(s.cuts) + 1
			checkLaw(t, &s)
			exact += len(s.cuts)
			inexact += s.inexact
		})
	}
	if inexact > exact/10 {
		t.Errorf("%d snapshots are not exact, and %d are", inexact, exact)
	}
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
func checkLaw(t *testing.T, s *script) {
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
