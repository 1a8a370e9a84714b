// Package streamtest has readers and data for tests of streams.
package streamtest

import (
	"io"
	"math/rand/v2"
)

// RandomBytes returns n bytes. They are the same in each run.
func RandomBytes(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// UpTo returns a function that returns random numbers from 0 to most. They are the same in each run.
func UpTo(most int) func() int {
	r := rand.New(rand.NewPCG(1, uint64(most)))
	return func() int { return r.IntN(most + 1) }
}

// PiecesReader returns Data in pieces of the sizes that Next gives, 0 included, and then io.EOF.
type PiecesReader struct {
	Data []byte
	Next func() int
}

func (r *PiecesReader) Read(p []byte) (int, error) {
	if len(r.Data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(r.Next(), len(p))], r.Data)
	r.Data = r.Data[n:]
	return n, nil
}

// LimitedReader reads R in pieces of the sizes that Next gives, or of one byte where that is 0.
type LimitedReader struct {
	R    io.Reader
	Next func() int
}

func (l *LimitedReader) Read(p []byte) (int, error) {
	return l.R.Read(p[:min(max(1, l.Next()), len(p))])
}
