//go:build linux

package wsep_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
)

// TestManySessions: a session takes little memory, one process, and little time to start.
func TestManySessions(t *testing.T) {
	skipIfShort(t)
	const most = 1 << 20 // bytes
	n := often(100, 1000)
	m := newMark(t)
	before := heap()
	var sessions []*wsep.Session
	quickest := time.Hour
	for len(sessions) < n {
		began := time.Now()
		hundred := make([]*wsep.Session, 100)
		for i := range hundred {
			hundred[i] = newNative(t, m.on(script("", `seq 1 100; exec sleep 1000`)))
		}
		for _, s := range hundred {
			state, err := s.WaitForState(wsep.StateReady)
			require.NoError(t, err)
			require.EqualValues(t, wsep.StateReady, state)
		}
		quickest = min(quickest, time.Since(began))
		t.Logf("100 sessions started in %v", time.Since(began))
		for _, s := range hundred {
			v := watch(t, sessionsOf{s}, wsep.Command{})
			v.waitFor("99 100")
			v.leave()
		}
		sessions = append(sessions, hundred...)
	}
	if longTests { // Then there are ten hundreds, and a busy machine may delay some of them.
		require.Less(t, quickest, 2*time.Second, "100 sessions started")
	}
	each := (heap() - before) / n
	t.Logf("%d KiB for each of %d sessions", each>>10, n)
	require.Less(t, each, most)
	require.Len(t, m.processes(), n)
	closing := time.Now()
	closed := make(chan struct{})
	for _, s := range sessions {
		go func() {
			s.Close("the test is over")
			closed <- struct{}{}
		}()
	}
	for range sessions {
		timetest.Receive(t, closed)
	}
	t.Logf("closed in %v", time.Since(closing))
	m.requireNone(t, patience)
}

// TestSessionStartsLikeTerminal starts sessions and plain terminals in turns, so that a busy machine delays both alike. Both
// take about as long. Only the code can make that five times.
func TestSessionStartsLikeTerminal(t *testing.T) {
	skipIfShort(t)
	const atOnce, rounds = 10, 10
	c := script("", "exec sleep 1000")
	// timed starts some commands at once, and returns how long that takes. Each start returns what ends the command.
	timed := func(start func() (end func())) (took time.Duration) {
		began, ends := time.Now(), make(chan func(), atOnce)
		for range atOnce {
			go func() { ends <- start() }() // Ends when the command has started.
		}
		for range atOnce {
			end := timetest.Receive(t, ends)
			defer end()
		}
		return time.Since(began)
	}
	var sessions, terminals time.Duration
	for range rounds {
		sessions += timed(func() func() {
			s := wsep.NewSession(&c, wsep.LocalExecer{}, native())
			_, err := s.WaitForState(wsep.StateReady)
			assert.NoError(t, err)
			return func() { s.Close("the test is over") }
		})
		terminals += timed(func() func() {
			p, err := wsep.LocalExecer{}.Start(t.Context(), c)
			if !assert.NoError(t, err) {
				return func() {}
			}
			return func() {
				assert.NoError(t, p.Close())
				assert.Error(t, waitWithin(t, p, patience))
			}
		})
	}
	t.Logf("%d sessions started in %v, as many terminals in %v", atOnce*rounds, sessions, terminals)
	require.Less(t, sessions, 5*terminals)
}

// TestManyAttaches: clients come and leave, and nothing of them is left.
func TestManyAttaches(t *testing.T) {
	skipIfShort(t)
	_, execer := sessionServer(t, native())
	first := watch(t, execer, bash("1"))
	first.waitFor("ready>")
	files := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(all)
	}
	attach := func(n int) {
		for range n {
			v := watch(t, execer, bash("1"))
			v.waitFor("ready>")
			v.leave()
		}
	}
	attach(10)
	before, goroutines, open := heap(), runtime.NumGoroutine(), files()
	attach(often(200, 10_000))
	const ours = 1 // The goroutine of Eventually.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+ours && files() <= open },
		patience, 10*time.Millisecond)
	require.Less(t, heap()-before, 1<<20)
	typeLine(t, first.p, "exit")
	requireExit(t, first.p, 0)
}

// BenchmarkAttachToNative measures the time from a start until the first output: of a new plain terminal, and of a client that
// attaches to a session, without and with 10,000 lines that have scrolled off.
func BenchmarkAttachToNative(b *testing.B) {
	_, execer := sessionServer(b, native())
	firstOutput := func(b *testing.B, c wsep.Command) {
		for b.Loop() {
			p, err := execer.Start(b.Context(), c)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := p.Stdout().Read(make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			_ = p.Close()
			_, _ = io.Copy(io.Discard, p.Stdout())
			_ = p.Wait()
			b.StartTimer()
		}
	}
	c := script("", "echo x; exec cat")
	b.Run("Plain", func(b *testing.B) { firstOutput(b, c) })
	for name, lines := range map[string]uint32{"Screen": 0, "Scrollback": 10_000} {
		b.Run(name, func(b *testing.B) {
			c := script("1", "seq -f %060.0f 1 10030; exec cat")
			c.Scrollback = lines
			p, err := execer.Start(b.Context(), c)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			go func() { _, _ = io.Copy(io.Discard, p.Stdout()) }() // Ends when p is closed.
			time.Sleep(time.Second)                                // The lines have scrolled off by then.
			firstOutput(b, c)
		})
	}
}

// BenchmarkOutputOfNative measures how fast output reaches a client: of a plain terminal, and of a session.
func BenchmarkOutputOfNative(b *testing.B) {
	file := filepath.Join(b.TempDir(), "text")
	text := bytes.Repeat([]byte("\x1b[32mok\x1b[m    the quick brown fox jumps over the lazy dog, again and again and again\n"), 400_000)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.Fatal(err)
	}
	_, execer := sessionServer(b, native())
	for name, id := range map[string]string{"Plain": "", "Native": "id"} {
		b.Run(name, func(b *testing.B) {
			n := 0
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				n++
				c := script("", "cat "+file)
				if id != "" {
					c.ID = id + strconv.Itoa(n)
				}
				p, err := execer.Start(b.Context(), c)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, p.Stdout()); err != nil {
					b.Fatal(err)
				}
				if err := p.Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
