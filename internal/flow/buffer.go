// Package flow carries a stream's bytes within bounds. An [Outbox] keeps the bytes of a sender until the receiver has
// consumed them, a [Buffer] holds what a receiver has not consumed yet, and [Receipts] tell the sender what was consumed.
// The package knows bytes and offsets. Of messages it knows only that one begins with a header.
package flow

import (
	"io"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

var (
	// ErrStopped is returned by a wait that was stopped.
	ErrStopped = xerrors.New("stopped")
	// ErrWindow is matched by the error of a producer that sent more than its window.
	ErrWindow = xerrors.New("peer sent more than its window")
)

// chunkSize is the unit, in bytes, in which a Buffer takes memory.
const chunkSize = 64 << 10

// MaxPiece is how many bytes a Buffer hands to a writer at a time, at most. They count until the writer has returned.
const MaxPiece = chunkSize

// Buffer is a bounded queue of bytes. It has one producer, which reads a connection, and one consumer: a reader, or the
// writer of PumpTo. It takes memory as it fills and returns memory as it empties. The fields are set before the first
// Fill.
type Buffer struct {
	// Strict says that the producer promised to stay within the limit. Other producers wait for room.
	Strict bool
	// Consumed, if set, is called with the number of bytes of each read. No lock is held then.
	Consumed func(n int)
	// Full, if set, is called again and again while the producer waits for room.
	Full func()

	limit int
	ahead [1]byte // the producer's: a byte that was read before there was room

	readMu sync.Mutex // held by the consumer during a read

	mu      sync.Mutex // guards what follows
	chunks  []*chunk
	size    int
	total   int64   // bytes that the producer has brought since the beginning
	filling bool    // the producer writes to the last chunk
	end     error   // what the consumer gets after the last byte; nil while there may be more
	drop    bool    // the consumer is done: all bytes are taken and none is kept
	pump    *pump   // the consumer, if it is a writer
	holds   []int64 // where the pump waits, as offsets in total

	readable chan struct{} // has room for one: the consumer looks again
	writable chan struct{} // has room for one: the producer looks again
}

// chunk holds bytes [r:w] of a buffer's content. The producer alone touches data[w:].
type chunk struct {
	r, w int
	data [chunkSize]byte
}

var chunkPool = sync.Pool{New: func() any { return new(chunk) }}

// NewBuffer returns a Buffer for at most limit bytes.
func NewBuffer(limit int) *Buffer {
	return &Buffer{
		limit:    limit,
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
	}
}

// Extend raises the limit by n bytes.
func (b *Buffer) Extend(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit += n
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Fill reads all of r into the buffer. Without room it waits, until stop is closed, and then returns ErrStopped. Of a
// Strict buffer it returns ErrWindow instead.
func (b *Buffer) Fill(r io.Reader, stop <-chan struct{}) error {
	for {
		switch err := b.pass(r); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		n := 0
		if b.isFull() {
			// A message that just fits does not wait. Beyond it there is only the end.
			var err error
			n, err = r.Read(b.ahead[:])
			if err != nil && err != io.EOF {
				return err
			}
			if n == 0 && err == io.EOF {
				return nil
			}
			if n == 0 {
				continue
			}
		}
		room, err := b.room(stop)
		if err != nil {
			return err
		}
		var readErr error
		if n > 0 {
			room[0] = b.ahead[0]
		} else {
			n, readErr = readSome(r, room)
		}
		if err := b.commit(n); err != nil {
			return err
		}
		if readErr == io.EOF {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}

// worthwhile is how many bytes of a message are passed on before the rest has come.
const worthwhile = 16 << 10

// readSome reads until p is full, r has ended or failed, or the bytes are worthwhile. It drops bytes that come together
// with an error: coder/websocket returns bytes of a frame that was cut without having unmasked them.
func readSome(r io.Reader, p []byte) (n int, err error) {
	for most := min(len(p), worthwhile); n < most && err == nil; {
		var m int
		m, err = r.Read(p[n:])
		if err != nil && err != io.EOF {
			return n, err
		}
		n += m
	}
	return n, err
}

// isFull reports whether the producer would have to wait.
func (b *Buffer) isFull() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.drop && !b.Strict && b.size >= b.limit
}

// room returns free space at the buffer's end. commit must follow.
func (b *Buffer) room(stop <-chan struct{}) ([]byte, error) {
	for {
		b.mu.Lock()
		free := b.limit - b.size
		if b.drop || free > 0 || b.Strict {
			break
		}
		b.mu.Unlock()
		if err := b.awaitRoom(stop); err != nil {
			return nil, err
		}
	}
	defer b.mu.Unlock()
	tail := b.tail()
	b.filling = true
	space := tail.data[tail.w:]
	if free := b.limit - b.size; !b.drop && !b.Strict && free < len(space) {
		space = space[:free]
	}
	return space, nil
}

// fullInterval is how often Full is called.
const fullInterval = 250 * time.Millisecond

func (b *Buffer) awaitRoom(stop <-chan struct{}) error {
	ticker := time.NewTicker(fullInterval)
	defer ticker.Stop()
	for {
		select {
		case <-b.writable:
			return nil
		case <-stop:
			return ErrStopped
		case <-ticker.C:
			if b.Full != nil {
				b.Full()
			}
		}
	}
}

// tail returns a last chunk with free space. The lock is held.
func (b *Buffer) tail() *chunk {
	if n := len(b.chunks); n > 0 && b.chunks[n-1].w < chunkSize {
		return b.chunks[n-1]
	}
	c := chunkPool.Get().(*chunk)
	c.r, c.w = 0, 0
	b.chunks = append(b.chunks, c)
	return c
}

// commit makes the n bytes that were written to the room part of the buffer.
func (b *Buffer) commit(n int) error {
	b.mu.Lock()
	b.filling = false
	b.total += int64(n)
	if b.drop {
		b.clear()
		b.mu.Unlock()
		b.used(n)
		return nil
	}
	last := b.chunks[len(b.chunks)-1]
	last.w += n
	taken := 0
	if b.size == 0 && len(b.holds) == 0 {
		taken = b.pump.try(last.data[last.w-n : last.w])
		last.r += taken
	}
	b.size += n - taken
	b.trim()
	b.pump.work()
	exceeded := b.Strict && b.size > b.limit
	b.mu.Unlock()
	b.used(taken)
	if n > taken {
		wake(b.readable)
	}
	if exceeded {
		return ErrWindow
	}
	return nil
}

// Received returns how many bytes the producer has brought since the beginning.
func (b *Buffer) Received() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// used reports that n bytes have left the buffer. The lock is not held.
func (b *Buffer) used(n int) {
	if n > 0 && b.Consumed != nil {
		b.Consumed(n)
	}
}

// trim returns used up chunks at the front to the pool. The lock is held.
func (b *Buffer) trim() {
	for len(b.chunks) > 0 {
		c := b.chunks[0]
		last := len(b.chunks) == 1
		if c.r < c.w || (last && b.filling) {
			return
		}
		chunkPool.Put(c)
		copy(b.chunks, b.chunks[1:])
		b.chunks[len(b.chunks)-1] = nil
		b.chunks = b.chunks[:len(b.chunks)-1]
	}
}

// clear returns all chunks to the pool. The lock is held and the producer is not filling.
func (b *Buffer) clear() {
	for i, c := range b.chunks {
		chunkPool.Put(c)
		b.chunks[i] = nil
	}
	b.chunks = b.chunks[:0]
	b.size = 0
}

// Close ends the buffer. After the bytes that it holds the consumer gets err. The first call counts.
func (b *Buffer) Close(err error) {
	b.mu.Lock()
	if b.end == nil {
		b.end = err
	}
	b.pump.work()
	b.mu.Unlock()
	wake(b.readable)
	wake(b.writable)
}

// Discard says that the consumer is done. All bytes, also those still to come, then count as consumed. The consumer
// must not be reading.
func (b *Buffer) Discard() {
	b.mu.Lock()
	b.drop = true
	n := b.size
	b.size = 0
	if !b.filling {
		b.clear()
	}
	b.mu.Unlock()
	wake(b.writable)
	b.used(n)
}

// peek waits for bytes. It returns the first ones, as many as one chunk has. They stay valid until advance.
func (b *Buffer) peek() ([]byte, error) {
	for {
		b.mu.Lock()
		var front []byte
		if b.size > 0 {
			c := b.chunks[0]
			front = c.data[c.r:c.w]
		}
		end := b.end
		b.mu.Unlock()
		if front != nil {
			return front, nil
		}
		if end != nil {
			return nil, end
		}
		<-b.readable
	}
}

// advance removes n bytes from the buffer's front.
func (b *Buffer) advance(n int) {
	b.mu.Lock()
	b.chunks[0].r += n
	b.size -= n
	b.trim()
	b.mu.Unlock()
	wake(b.writable)
	b.used(n)
}

// Read implements io.Reader. Concurrent reads take turns.
func (b *Buffer) Read(p []byte) (int, error) {
	b.readMu.Lock()
	defer b.readMu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	front, err := b.peek()
	if err != nil {
		return 0, err
	}
	n := copy(p, front)
	b.advance(n)
	return n, nil
}

// WriteTo implements io.WriterTo.
func (b *Buffer) WriteTo(w io.Writer) (written int64, err error) {
	b.readMu.Lock()
	defer b.readMu.Unlock()
	for {
		front, err := b.peek()
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(front)
		written += int64(n)
		b.advance(n)
		if err != nil {
			return written, err
		}
		if n < len(front) {
			return written, io.ErrShortWrite
		}
	}
}
