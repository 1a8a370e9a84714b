package flow

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

const testHeader = "{\"type\":\"test\"}\n"

// put makes all of p, as far as there is room, and returns how much that was.
func put(o *Outbox, p []byte) (n int) {
	for len(p) > 0 && o.Room() > 0 {
		m := copy(o.Space(), p[:min(int64(len(p)), o.Room())])
		o.Commit(m)
		p, n = p[m:], n+m
	}
	return n
}

// take sends a message and returns its body.
func take(t *testing.T, o *Outbox, most int) []byte {
	msg := o.Message(most)
	body, ok := bytes.CutPrefix(msg, []byte(testHeader))
	require.True(t, ok, "%q", msg)
	require.NotEmpty(t, body)
	require.LessOrEqual(t, len(body), most)
	body = bytes.Clone(body)
	o.Written()
	return body
}

// held returns how many bytes of memory an Outbox holds.
func held(o *Outbox) (n int) {
	for _, c := range o.chunks {
		n += len(c.data)
	}
	return n
}

// sendAll carries data from an outbox to a buffer, as fast as the acks allow.
func sendAll(o *Outbox, data []byte, b *Buffer, acks <-chan int64) error {
	for len(data) > 0 || o.Unsent() > 0 {
		data = data[put(o, data):]
		if o.Unsent() == 0 {
			if err := o.Ack(<-acks); err != nil {
				return err
			}
			continue
		}
		body := o.Message(64000)[len(testHeader):]
		if err := b.Fill(bytes.NewReader(body), nil); err != nil {
			return err
		}
		o.Written()
	}
	return nil
}

// fillAndClose fills b and then ends it, with the error of fill if there is one.
func fillAndClose(b *Buffer, r io.Reader) {
	err := b.Fill(r, nil)
	if err == nil {
		err = io.EOF
	}
	b.Close(err)
}

// requireNoMemory checks that the buffer holds no chunk, not even in unused parts of its slices.
func requireNoMemory(t *testing.T, b *Buffer) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Zero(t, b.size)
	require.Empty(t, b.chunks)
	for _, c := range b.chunks[:cap(b.chunks)] {
		require.Nil(t, c)
	}
}

// requireFull checks that a buffer holds its limit while its producer waits. One byte more is allowed, because the
// producer must read it to know that there is more.
func requireFull(t *testing.T, b *Buffer) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Contains(t, []int{b.limit, b.limit + 1}, b.size)
}

type countingWriter struct{ n int }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n += len(p)
	return len(p), nil
}

// failingWithData returns its bytes together with an error.
type failingWithData struct{ data []byte }

func (r *failingWithData) Read(p []byte) (int, error) { return copy(p, r.data), io.ErrClosedPipe }

// actingReader calls act during its first read, as another goroutine may.
type actingReader struct {
	io.Reader
	act func()
}

func (r *actingReader) Read(p []byte) (int, error) {
	if r.act != nil {
		r.act()
		r.act = nil
	}
	return r.Reader.Read(p)
}

// yieldingWriter lets other goroutines run while it has bytes of the buffer.
type yieldingWriter func(p []byte)

func (w yieldingWriter) Write(p []byte) (int, error) {
	for range 100 {
		runtime.Gosched()
	}
	w(p)
	return len(p), nil
}

// limitedWriter takes n bytes and then returns err.
type limitedWriter struct {
	n   int
	err error
	got []byte
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) <= w.n {
		w.n -= len(p)
		w.got = append(w.got, p...)
		return len(p), nil
	}
	n := w.n
	w.n = 0
	w.got = append(w.got, p[:n]...)
	return n, w.err
}

type discardWriter struct{}
