//go:build linux

package wsep_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
	"cdr.dev/wsep/internal/vt"
)

// toAlternate is how a snapshot goes to the alternate screen.
const toAlternate = "\x1b[?47h"

// native are the options of sessions that a server keeps itself.
func native() *wsep.Options { return &wsep.Options{Sessions: wsep.SessionsNative} }

// newNative starts a session, which is closed at the test's end.
func newNative(t testing.TB, c wsep.Command) *wsep.Session {
	t.Helper()
	s := wsep.NewSession(&c, wsep.LocalExecer{}, native())
	t.Cleanup(func() { s.Close("the test is over") })
	return s
}

// view is a client whose terminal is a model.
type view struct {
	t    testing.TB
	p    wsep.Process
	read chan struct{} // closed when the output has ended

	mu   sync.Mutex // guards the next
	term *vt.Terminal
}

// watch attaches a client to what the execer starts.
func watch(t testing.TB, execer wsep.Execer, c wsep.Command) *view {
	t.Helper()
	p, err := execer.Start(t.Context(), c)
	require.NoError(t, err)
	rows, cols := 24, 80
	if c.Rows > 0 {
		rows, cols = int(c.Rows), int(c.Cols)
	}
	v := &view{t: t, p: p, read: make(chan struct{}), term: vt.New(rows, cols, 10_000)}
	// Ends with the output.
	go func() {
		defer close(v.read)
		buf := make([]byte, 4<<10)
		for {
			n, err := p.Stdout().Read(buf)
			v.mu.Lock()
			v.term.Write(buf[:n])
			v.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return v
}

// text returns what the client's terminal shows, with some of what has scrolled off.
func (v *view) text() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return textOf(string(v.term.Snapshot(100)))
}

func (v *view) snapshot() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return string(v.term.Snapshot(10_000))
}

// page returns what the screen shows that the client's terminal is on now, the normal or the alternate one.
func (v *view) page() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	// A snapshot prints the last character twice, in case that what follows joins it. Nothing joins after a carriage return.
	rows, cols := v.term.Size()
	shown := vt.New(rows, cols, 0)
	shown.Write(append(v.term.Snapshot(0), '\r'))
	snapshot := string(shown.Snapshot(0))
	return textOf(snapshot[max(0, strings.LastIndex(snapshot, toAlternate)):])
}

func (v *view) waitFor(text string) {
	v.t.Helper()
	require.Eventually(v.t, func() bool { return strings.Contains(v.text(), text) }, patience, 5*time.Millisecond,
		"%q: %q", text, lazy(v.text))
}

// lazy is a message that is made when it is printed.
type lazy func() string

func (l lazy) String() string {
	const enough = 2000
	s := l()
	return s[max(0, len(s)-enough):]
}

func (v *view) leave() {
	v.t.Helper()
	require.NoError(v.t, v.p.Close())
	require.ErrorContains(v.t, waitWithin(v.t, v.p, patience), "detached")
	timetest.Receive(v.t, v.read)
}

// sessionsOf is an Execer that attaches to a session.
type sessionsOf struct{ *wsep.Session }

func (s sessionsOf) Start(ctx context.Context, _ wsep.Command) (wsep.Process, error) {
	return s.Attach(ctx)
}
