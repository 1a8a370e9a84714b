//go:build unix

package main

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"cdr.dev/wsep/internal/cuttest"
	"cdr.dev/wsep/internal/vt"
)

// line is a line to the server that can be cut.
type line struct {
	proxy *cuttest.Proxy // nil if there is none
	isCut atomic.Bool
	spawn int64 // how many bytes had been answered when the last program was spawned
}

// spawned is called before a program is spawned.
func (l *line) spawned() {
	if l.proxy != nil {
		l.spawn = l.proxy.Answered()
	}
}

type lineKey struct{}

// nowhere is an address at which nothing listens.
const nowhere = "http://127.0.0.1:1"

// cmdLine returns the command line. The line ends with t.
func cmdLine(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		checkUsage(ts, neg, args, 0, 1)
		l := ts.Value(lineKey{}).(*line)
		scheme, address, _ := strings.Cut(ts.Getenv("URL"), "://")
		plan := cuttest.Plan{}
		if len(args) > 0 {
			after, err := strconv.ParseInt(args[0], 10, 64)
			ts.Check(err)
			plan = cuttest.Plan{How: cuttest.Reset, Up: true, After: after}
		}
		l.proxy = cuttest.NewTo(t, func() string {
			if l.isCut.Load() {
				return nowhere
			}
			return "http://" + address
		}, func() cuttest.Plan { return plan })
		ts.Setenv("URL", scheme+strings.TrimPrefix(l.proxy.URL(), "http"))
	}
}

func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, 0)
	l := ts.Value(lineKey{}).(*line)
	l.isCut.Store(true)
	l.proxy.CutAll(cuttest.Reset)
}

func cmdMend(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, 0)
	ts.Value(lineKey{}).(*line).isCut.Store(false)
}

func cmdAnswered(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, 0)
	l := ts.Value(lineKey{}).(*line)
	if !eventually(func() bool { return l.proxy.Answered() > l.spawn }) {
		ts.Fatalf("the server has not answered")
	}
}

// screen returns what the program's terminal shows.
func (s *spawned) screen(ts *testscript.TestScript) []byte {
	size, err := pty.GetsizeFull(s.control)
	ts.Check(err)
	terminal := vt.New(int(size.Rows), int(size.Cols), 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	terminal.Write(s.output.Bytes())
	terminal.Write([]byte("\x1b7")) // The notice saves the cursor. A program that has saved it before loses that.
	return terminal.Snapshot(0)
}

func cmdScreen(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), theSpawned(ts).screen(ts), 0o666))
}

func cmdShowsAgain(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, 1)
	s, want := theSpawned(ts), []byte(ts.ReadFile(args[0]))
	if !eventually(func() bool { return bytes.Equal(want, s.screen(ts)) }) {
		ts.Fatalf("the terminal shows %q, want %q", s.screen(ts), want)
	}
}

func cmdWrote(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 2, 2)
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	s := theSpawned(ts)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(re.FindAllIndex(s.output.Bytes(), -1)); strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d matches for %q in %q", n, args[1], s.output.Bytes())
	}
}
