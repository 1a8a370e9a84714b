package wsep

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// readyPipe returns a pipe and a channel that is closed when its reading end is ready.
func readyPipe(t *testing.T) (r, w *os.File, hurry func(), ready chan struct{}) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { closeAll([]*os.File{r, w}) })
	ready = make(chan struct{})
	hurry, ok := whenReadable(r, func() { close(ready) }) // A second call panics.
	require.True(t, ok)
	return r, w, hurry, ready
}

func requireReady(t *testing.T, ready <-chan struct{}) {
	t.Helper()
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		require.FailNow(t, "not called back")
	}
}

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

	// The next has the number of the one that was closed.
	_, w, _, next := readyPipe(t)
	require.False(t, isClosed(next))
	_, err = w.Write([]byte("x"))
	require.NoError(t, err)
	requireReady(t, next)

	require.False(t, isClosed(idle))
	hurryIdle()
	requireReady(t, idle)
	// Others may be waiting for processes of their own.
	require.Eventually(t, func() bool {
		watched.mu.Lock()
		defer watched.mu.Unlock()
		return watched.epoll == nil
	}, 10*time.Second, time.Millisecond, "nothing is left when nothing is waited for")
}

// TestReadinessOfManyAtOnce: more than one look takes.
func TestReadinessOfManyAtOnce(t *testing.T) {
	var ready []chan struct{}
	var ends []*os.File
	for range 100 {
		_, w, _, c := readyPipe(t)
		ready, ends = append(ready, c), append(ends, w)
	}
	closeAll(ends)
	for _, c := range ready {
		requireReady(t, c)
	}
}
