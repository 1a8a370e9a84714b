package readiness

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadiness(t *testing.T) {
	_, _, hurryIdle, idle := readyPipe(t)
	_, w, hurry, written := readyPipe(t)
	_, end, _, ended := readyPipe(t)
	r, _, hurryClosed, closed := readyPipe(t)

	_, err := w.Write([]byte("x"))
	require.NoError(t, err)
	requireReady(t, written)
	hurry()
	require.NoError(t, end.Close())
	requireReady(t, ended)
	hurryClosed()
	requireReady(t, closed)
	require.NoError(t, r.Close())

	// The next pipe has the descriptor's number of the closed one.
	_, w, _, next := readyPipe(t)
	require.False(t, isClosed(next))
	_, err = w.Write([]byte("x"))
	require.NoError(t, err)
	requireReady(t, next)

	require.False(t, isClosed(idle))
	hurryIdle()
	requireReady(t, idle)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	require.Nil(t, shared.epoll, "nothing is left when nothing is waited for")
}

// TestReadinessOfManyAtOnce has more ready descriptors than one call of epoll_wait returns.
func TestReadinessOfManyAtOnce(t *testing.T) {
	var ready []chan struct{}
	var ends []*os.File
	for range 100 {
		_, w, _, c := readyPipe(t)
		ready, ends = append(ready, c), append(ends, w)
	}
	closeAll(ends...)
	for _, c := range ready {
		requireReady(t, c)
	}
}

// readyPipe returns a pipe and a channel that is closed when its reading end is ready.
func readyPipe(t *testing.T) (r, w *os.File, hurry func(), ready chan struct{}) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { closeAll(r, w) })
	ready = make(chan struct{})
	hurry, err = WhenReadable(r, func() { close(ready) }) // A second call panics.
	require.NoError(t, err)
	return r, w, hurry, ready
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func requireReady(t *testing.T, ready <-chan struct{}) {
	t.Helper()
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		require.FailNow(t, "not called back")
	}
}
