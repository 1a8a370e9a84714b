package flow

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// taker is a writer that takes bytes by itself while it has room.
type taker struct {
	mu      sync.Mutex
	got     bytes.Buffer
	takes   int // how many bytes it takes by itself
	taken   int // how many it has taken
	blocked chan struct{}
}

func (w *taker) Write(p []byte) (int, error) {
	<-w.blocked
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.Write(p)
}

func (w *taker) TakeFrom(r io.Reader) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := make([]byte, min(w.takes-w.taken, 10))
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.Read(p)
	w.got.Write(p[:n])
	w.taken += n
	return n, err
}

// TestTakerKeepsTheOrder fills a buffer whose writer takes a part of the bytes by itself. Those that come later must wait in the buffer
// for those before them.
func TestTakerKeepsTheOrder(t *testing.T) {
	b := NewBuffer(1 << 20)
	b.Strict = true
	consumed := 0
	b.Consumed = func(n int) { consumed += n }
	w := &taker{takes: 35, blocked: make(chan struct{})}
	ended := make(chan error, 1)
	b.PumpTo(w, func(err error) { ended <- err })
	first := strings.Repeat("0123456789", 10000)
	require.NoError(t, b.Fill(strings.NewReader(first), nil))
	require.Equal(t, 35, w.taken)
	require.Equal(t, 35, consumed)
	require.EqualValues(t, len(first), b.Received())
	w.takes += 1000 // The buffer is not empty, so it may not take anything now.
	require.NoError(t, b.Fill(strings.NewReader("abc"), nil))
	require.Equal(t, 35, w.taken)
	close(w.blocked)
	b.Close(io.EOF)
	require.Equal(t, io.EOF, <-ended)
	require.Equal(t, first+"abc", w.got.String())
	require.Equal(t, len(first)+3, consumed)
}

// TestTakerTakesAll fills a buffer whose writer takes everything by itself.
func TestTakerTakesAll(t *testing.T) {
	b := NewBuffer(10)
	b.Strict = true
	w := &taker{takes: 1 << 20}
	ended := make(chan error, 1)
	b.PumpTo(w, func(err error) { ended <- err })
	all := strings.Repeat("0123456789", 1000)
	require.NoError(t, b.Fill(strings.NewReader(all), nil), "what is taken does not count in the window")
	require.EqualValues(t, len(all), b.Received())
	b.Close(io.EOF)
	require.Equal(t, io.EOF, <-ended)
	require.Equal(t, all, w.got.String())
}

// TestTakerErrors stops taking when nobody wants the bytes, and passes a reader's error on.
func TestTakerErrors(t *testing.T) {
	broken := errors.New("broken")
	b := NewBuffer(1 << 20)
	w := &taker{takes: 1 << 20}
	b.PumpTo(w, func(error) {})
	require.ErrorIs(t, b.Fill(io.MultiReader(strings.NewReader("abc"), failing{broken}), nil), broken)
	require.Equal(t, "abc", w.got.String())
	require.EqualValues(t, 3, b.Received())
	b.Discard()
	require.NoError(t, b.Fill(strings.NewReader("def"), nil))
	require.Equal(t, "abc", w.got.String())
	require.EqualValues(t, 6, b.Received())
}

type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }

// nowaiter is a writer that writes without waiting, and a Taker.
type nowaiter struct{ got []byte }

func (w *nowaiter) Write(p []byte) (int, error) { return w.WriteNoWait(p), nil }
func (w *nowaiter) WriteNoWait(p []byte) int    { w.got = append(w.got, p...); return len(p) }

// eachDirect runs a test for each kind of writer that need not go through the buffer. written returns what it has got.
func eachDirect(t *testing.T, test func(t *testing.T, w io.Writer, written func() string)) {
	synctest.Test(t, func(t *testing.T) {
		w := &nowaiter{}
		test(t, w, func() string { synctest.Wait(); return string(w.got) })
	})
	synctest.Test(t, func(t *testing.T) {
		w := &taker{takes: 100, blocked: make(chan struct{})}
		close(w.blocked)
		test(t, w, func() string { synctest.Wait(); return w.got.String() })
	})
}

// TestHold: bytes that come after a Hold wait for its Release.
func TestHold(t *testing.T) {
	eachDirect(t, func(t *testing.T, w io.Writer, written func() string) {
		b := NewBuffer(1 << 20)
		fill := func(text string) { require.NoError(t, b.Fill(strings.NewReader(text), nil)) }
		ended := false
		fill("free, ")
		b.Hold()
		fill("held once, ")
		b.PumpTo(w, func(err error) { ended = err == io.EOF })
		b.Hold()
		fill("held twice")
		b.Close(io.EOF)
		require.Equal(t, "free, ", written())
		b.Release()
		require.Equal(t, "free, held once, ", written())
		require.False(t, ended)
		b.Release()
		require.Equal(t, "free, held once, held twice", written())
		require.True(t, ended)
	})
}

// TestHoldOfEmptyBuffer: a writer takes nothing by itself while there is a Hold.
func TestHoldOfEmptyBuffer(t *testing.T) {
	eachDirect(t, func(t *testing.T, w io.Writer, written func() string) {
		b := NewBuffer(1 << 20)
		b.PumpTo(w, func(error) {})
		b.Hold()
		require.NoError(t, b.Fill(strings.NewReader("held"), nil))
		require.Empty(t, written())
		b.Release()
		require.Equal(t, "held", written())
		require.NoError(t, b.Fill(strings.NewReader(", free"), nil))
		require.Equal(t, "held, free", written())
	})
}
