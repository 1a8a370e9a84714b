package execertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"
)

// fill writes lines to stdin until it is full, because the program does not read. It goes on writing until a write
// fails.
func (p *process) fill() {
	p.f.Helper()
	progress := make(chan struct{}, 1)
	stopped := make(chan struct{})
	p.background.Go(func() {
		defer close(stopped)
		block := bytes.Repeat([]byte("nobody reads this\n"), 1000)
		for {
			if _, err := p.Stdin().Write(block); err != nil {
				return
			}
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	})
	const still = 300 * time.Millisecond
	var failed bool
	p.f.within(patience, "filling stdin", func() {
		for {
			select {
			case <-progress:
			case <-stopped:
				failed = true
				return
			case <-time.After(still):
				return
			}
		}
	})
	require.False(p.f, failed, "writing to stdin fails while the process runs")
}

// noise returns random bytes, the same ones every time.
func noise() io.Reader { return rand.NewChaCha8([32]byte{}) }

// digest returns the checksum of the bytes of r, as sha256sum writes it.
func digest(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), err
}

// digest begins to read all of stdout. wait waits for that, and returns its checksum. That may take any time while bytes
// arrive.
func (p *process) digest() (wait func() string) {
	h := sha256.New()
	read := p.copy("stdout", h, p.Stdout())
	return func() string {
		p.f.Helper()
		read()
		return hex.EncodeToString(h.Sum(nil))
	}
}

// count begins to read all of a stream. wait waits for that, and returns the number of bytes.
func (p *process) count(name string, r io.Reader) (wait func() int64) {
	return p.copy(name, io.Discard, r)
}

// copy begins to copy all of a stream to w. wait waits for that, and returns the number of bytes.
func (p *process) copy(name string, w io.Writer, r io.Reader) (wait func() int64) {
	var n int64
	var err error
	copied := p.move(name, func(moved func()) { n, err = io.Copy(&meteredWriter{w, moved}, r) })
	return func() int64 {
		p.f.Helper()
		copied()
		require.NoError(p.f, err)
		return n
	}
}

// feed writes all of r to stdin and closes it, in the background. wait waits for that. It fails the test when no bytes
// move for too long.
func (p *process) feed(r io.Reader) (wait func()) {
	var err error
	written := p.move("stdin", func(moved func()) {
		_, err = io.Copy(p.Stdin(), &meteredReader{r, moved})
		if closeErr := p.Stdin().Close(); err == nil {
			err = closeErr
		}
	})
	return func() {
		p.f.Helper()
		written()
		require.NoError(p.f, err)
	}
}

// move starts to move data. wait waits for the end, and fails the test when nothing moves for too long.
func (p *process) move(what string, do func(moved func())) (wait func()) {
	progress := make(chan struct{}, 1)
	done := make(chan struct{})
	p.background.Go(func() {
		defer close(done)
		do(func() {
			select {
			case progress <- struct{}{}:
			default:
			}
		})
	})
	return func() {
		p.f.Helper()
		for {
			select {
			case <-done:
				return
			case <-progress:
			case <-time.After(patience):
				p.f.Fatalf("on %s nothing moves for %v; all goroutines:\n\n%s", what, patience, stacks())
			}
		}
	}
}

type meteredReader struct {
	r     io.Reader
	moved func()
}

func (m *meteredReader) Read(b []byte) (int, error) {
	m.moved()
	return m.r.Read(b)
}

type meteredWriter struct {
	w     io.Writer
	moved func()
}

func (m *meteredWriter) Write(b []byte) (int, error) {
	m.moved()
	return m.w.Write(b)
}

// sumScript writes the checksum of its stdin.
const sumScript = `{ sha256sum || shasum -a 256; } 2>/dev/null`
