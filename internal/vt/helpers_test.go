package vt

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// written returns a terminal of 5 by 12 that got s.
func written(s string) *Terminal {
	term := New(5, 12, 100)
	term.Write([]byte(s))
	return term
}

func manyLinks(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\x1b]8;;http://example/%d\alink\x1b]8;;\a\x1b[4:3;58:5:%dm%c\u0301\u0302\x1b[m", i, i%256, 'a'+i%26)
	}
	return b.String()
}

// memory returns how many bytes what make returns takes.
func memory(make func() *Terminal) int {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	t := make()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(t)
	return int(after.HeapAlloc) - int(before.HeapAlloc)
}

// checkBounds checks what holds for each terminal.
func checkBounds(t *testing.T, term *Terminal) {
	t.Helper()
	b := term.on
	if len(b.rows) != term.rows || b.y < 0 || b.y >= term.rows || b.x < 0 || b.x > term.cols+maxOverhang {
		t.Fatalf("the cursor is at %d,%d of %d,%d with %d rows", b.x, b.y, term.cols, term.rows, len(b.rows))
	}
	for _, r := range b.rows {
		if len(r.cells) != term.cols {
			t.Fatalf("a row has %d cells of %d", len(r.cells), term.cols)
		}
	}
	if b.top < 0 || b.top > b.bottom || b.bottom >= term.rows {
		t.Fatalf("margins %d to %d of %d", b.top, b.bottom, term.rows)
	}
	if n := term.normal.history.n; n > 50 {
		t.Fatalf("%d rows of history", n)
	}
	if len(term.replies) > maxReplies || len(term.title) > maxTitle || len(term.payload) > maxPayload {
		t.Fatal("too much is kept")
	}
	if n := len(term.extras.numbers) + len(term.clusters.numbers); n > 4*(sweepFirst+2*term.rows*term.cols) {
		t.Fatalf("%d extras and clusters", n)
	}
}
