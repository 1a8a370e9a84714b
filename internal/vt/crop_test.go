package vt

import (
	"strings"
	"testing"
)

// shownAt returns what a terminal shows at a place: a blank for a null cell, and nothing beyond the screen.
func shownAt(t *Terminal, y, x int) string {
	if y >= t.rows || x >= t.cols {
		return ""
	}
	c := t.on.rows[y].cells[x]
	if !c.hasContent() && c.width() != 0 {
		return " "
	}
	return t.text(c)
}

// TestCrop crops soups to other sizes, twice: the second drawing shows the same over the first.
func TestCrop(t *testing.T) {
	for seed := range uint64(100) {
		term := soupTerminal(seed)
		for _, size := range [][2]int{{2, 5}, {term.rows, term.cols / 2}, {term.rows + 3, term.cols + 7}, {1, 100}} {
			rows, cols := size[0], max(size[1], minCols)
			small := New(rows, cols, 10)
			for range 2 {
				small.Write(term.Crop(rows, cols))
			}
			for y := range rows {
				for x := range cols {
					want := shownAt(term, y, x)
					if y >= term.rows || x >= term.cols {
						want = " "
					}
					got := shownAt(small, y, x)
					if got != want && x < min(cols, term.cols)-1 && !half(term, y, x) && strings.Trim(got+want, " ") != "" {
						t.Fatalf("%d, %v: got %q at %d,%d, want %q", seed, size, got, y, x, want)
					}
				}
			}
			if small.on != &small.normal || small.modes.noWrap || small.modes.synchronized || small.Scrollback() > 0 {
				t.Errorf("%d: %+v, %d lines", seed, small.modes, small.Scrollback())
			}
			if m := small.modes; m.mouse != term.modes.mouse || m.paste != term.modes.paste || m.appCursor != term.modes.appCursor {
				t.Errorf("%d: got %+v, want %+v", seed, m, term.modes)
			}
		}
	}
}

// half tells whether a place has half a wide character, or what has width 0.
func half(t *Terminal, y, x int) bool {
	if y >= t.rows || x >= t.cols {
		return false
	}
	cells := t.on.rows[y].cells
	c := cells[x]
	switch c.width() {
	case 2:
		return x == t.cols-1 || cells[x+1].hasContent()
	case 0:
		return true
	}
	return runeWidth([]rune(t.text(c) + " ")[0]) != 1
}
