package wsep

import (
	"io"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// What flows between a connection and a process: a buffer on the receiving side, the credit that keeps it within its
// limit on the sending side.

const (
	// defaultWindow is how many bytes of a stream may be under way or unread, and so what a buffer holds at most. It
	// is the memory that a reader who stopped can cost, and with the round-trip time it bounds the rate: 2 MiB let a
	// stream use 160 Mbit/s over 100 ms.
	defaultWindow = 2 << 20
	// chunkSize is the unit in which buffers take memory.
	chunkSize = 64 << 10
)

var errWindowExceeded = protocolErrorf("peer sent more than its window")

// buffer is a bounded queue of bytes from one producer, who reads a connection, to one consumer. It takes memory as it
// fills and gives it back as it empties.
type buffer struct {
	limit int
	// strict says that the producer promised to stay within limit. One who did not waits for room instead. It is set
	// before the first fill.
	strict bool
	// consumed, if set, is called with the number of bytes of every read, outside of the lock. It is set before the
	// first fill.
	consumed func(n int)
	// full, if set, is called again and again while the producer waits for room.
	full func()

	ahead [1]byte // the producer's: a byte that has been read before there was room

	readMu sync.Mutex // held by the consumer during a read

	mu      sync.Mutex // guards what follows
	chunks  []*chunk
	size    int
	filling bool  // the producer is writing to the last chunk
	end     error // what the consumer gets after the last byte; nil while there may be more
	drop    bool  // nobody will read: take everything and keep nothing
	pump    *pump // the consumer, if it is none that reads

	readable chan struct{} // has room for one: the consumer looks again
	writable chan struct{} // has room for one: the producer looks again
}

// chunk holds bytes [r:w] of a buffer's content. The producer alone touches data[w:].
type chunk struct {
	r, w int
	data [chunkSize]byte
}

var chunkPool = sync.Pool{New: func() any { return new(chunk) }}

func newBuffer(limit int) *buffer {
	return &buffer{
		limit:    limit,
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fill reads all of r into the buffer. If the buffer is full it waits for room, until stop is closed; if the producer
// is bound to the limit it fails.
func (b *buffer) fill(r io.Reader, stop <-chan struct{}) error {
	for {
		n := 0
		if b.isFull() {
			// What just fits does not wait: beyond it there is only the end.
			var err error
			if n, err = r.Read(b.ahead[:]); n == 0 {
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
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

// worthwhile is how many bytes of a message are worth passing on before the rest has come.
const worthwhile = 16 << 10

// readSome reads until p is full, r has ended or failed, or what it has read is worthwhile.
func readSome(r io.Reader, p []byte) (n int, err error) {
	for most := min(len(p), worthwhile); n < most && err == nil; {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// isFull reports whether the producer would have to wait.
func (b *buffer) isFull() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.drop && !b.strict && b.size >= b.limit
}

// room returns free space at the buffer's end. commit must follow.
func (b *buffer) room(stop <-chan struct{}) ([]byte, error) {
	for {
		b.mu.Lock()
		free := b.limit - b.size
		if b.drop || free > 0 || b.strict {
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
	if free := b.limit - b.size; !b.drop && !b.strict && free < len(space) {
		space = space[:free]
	}
	return space, nil
}

// fullInterval is how often a buffer says that it is full.
const fullInterval = 250 * time.Millisecond

func (b *buffer) awaitRoom(stop <-chan struct{}) error {
	ticker := time.NewTicker(fullInterval)
	defer ticker.Stop()
	for {
		select {
		case <-b.writable:
			return nil
		case <-stop:
			return errStopped
		case <-ticker.C:
			if b.full != nil {
				b.full()
			}
		}
	}
}

var errStopped = xerrors.New("stopped")

// tail returns a last chunk with free space. The lock is held.
func (b *buffer) tail() *chunk {
	if n := len(b.chunks); n > 0 && b.chunks[n-1].w < chunkSize {
		return b.chunks[n-1]
	}
	c := chunkPool.Get().(*chunk)
	c.r, c.w = 0, 0
	b.chunks = append(b.chunks, c)
	return c
}

// commit makes the n bytes that were written to the room part of the buffer.
func (b *buffer) commit(n int) error {
	b.mu.Lock()
	b.filling = false
	if b.drop {
		b.clear()
		b.mu.Unlock()
		b.used(n)
		return nil
	}
	last := b.chunks[len(b.chunks)-1]
	last.w += n
	taken := 0
	if b.size == 0 {
		taken = b.pump.try(last.data[last.w-n : last.w])
		last.r += taken
	}
	b.size += n - taken
	b.trim()
	b.pump.work()
	exceeded := b.strict && b.size > b.limit
	b.mu.Unlock()
	b.used(taken)
	if n > taken {
		wake(b.readable)
	}
	if exceeded {
		return errWindowExceeded
	}
	return nil
}

// used tells that n bytes have left the buffer. The lock is not held.
func (b *buffer) used(n int) {
	if n > 0 && b.consumed != nil {
		b.consumed(n)
	}
}

// trim gives back the chunks at the front that are used up. The lock is held.
func (b *buffer) trim() {
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

// clear gives back all chunks. The lock is held and the producer is not filling.
func (b *buffer) clear() {
	for i, c := range b.chunks {
		chunkPool.Put(c)
		b.chunks[i] = nil
	}
	b.chunks = b.chunks[:0]
	b.size = 0
}

// close ends the buffer: after what it holds the consumer gets err. The first call counts.
func (b *buffer) close(err error) {
	b.mu.Lock()
	if b.end == nil {
		b.end = err
	}
	b.pump.work()
	b.mu.Unlock()
	wake(b.readable)
	wake(b.writable)
}

// discard tells that nobody will read any more. What is in the buffer, and all that still comes, counts as consumed.
// The consumer must not be reading.
func (b *buffer) discard() {
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

// peek waits for bytes and returns those that lie together at the buffer's front. They stay valid until advance.
func (b *buffer) peek() ([]byte, error) {
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
func (b *buffer) advance(n int) {
	b.mu.Lock()
	b.chunks[0].r += n
	b.size -= n
	b.trim()
	b.mu.Unlock()
	wake(b.writable)
	b.used(n)
}

// Read implements io.Reader. Concurrent reads take turns.
func (b *buffer) Read(p []byte) (int, error) {
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
func (b *buffer) WriteTo(w io.Writer) (written int64, err error) {
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

// credit counts what may still be sent of one stream. One goroutine sends.
type credit struct {
	mu     sync.Mutex // guards what follows
	window int64      // 0 means that there is no flow control
	sent   int64
	acked  int64

	granted chan struct{} // has room for one: the sender looks again
}

func newCredit(window int64) *credit {
	return &credit{window: window, granted: make(chan struct{}, 1)}
}

// available waits until something may be sent and returns how much, at most most. It fails when stop is closed.
func (c *credit) available(most int, stop <-chan struct{}) (int, error) {
	for {
		c.mu.Lock()
		free := c.acked + c.window - c.sent
		unlimited := c.window == 0
		c.mu.Unlock()
		if unlimited || free >= int64(most) {
			return most, nil
		}
		if free > 0 {
			return int(free), nil
		}
		select {
		case <-c.granted:
		case <-stop:
			return 0, errStopped
		}
	}
}

// spend counts n bytes as sent.
func (c *credit) spend(n int) {
	c.mu.Lock()
	c.sent += int64(n)
	c.mu.Unlock()
}

// ack takes the peer's word that offset bytes in all have been consumed.
func (c *credit) ack(offset int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if offset == 0 {
		return nil
	}
	if offset < c.acked || offset > c.sent {
		return protocolErrorf("ack of %d bytes, sent are %d and acknowledged %d", offset, c.sent, c.acked)
	}
	c.acked = offset
	wake(c.granted)
	return nil
}

// receipts tells a peer what has been consumed of one stream, seldom enough to be cheap and often enough that the peer
// does not run out of credit.
type receipts struct {
	mu       sync.Mutex // guards what follows
	every    int64
	consumed int64
	told     int64
	tell     func(offset int64)
}

func newReceipts(window int64, tell func(offset int64)) *receipts {
	return &receipts{every: window / 4, tell: tell}
}

func (r *receipts) add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.consumed += int64(n)
	if r.consumed-r.told >= r.every {
		r.told = r.consumed
		r.tell(r.consumed)
	}
}
