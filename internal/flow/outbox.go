package flow

import (
	"sync"

	"golang.org/x/xerrors"
)

// ErrAck is matched by the error of an acknowledgment that can't be true.
var ErrAck = xerrors.New("bad ack")

// ErrGap is matched by the error of a Rewind to bytes that the Outbox does not have.
var ErrGap = xerrors.New("bytes are not there to be sent again")

// Outbox keeps the bytes of one stream from the time that they are made until the peer has consumed them, so that they can
// be sent again over another connection. See [Outbox.Forget] for a stream that has only one connection.
//
// It is not safe for concurrent use: its owner's lock guards it. The lock need not be held while bytes are put where Space
// and Lend say, and while a Message is written.
//
// Offsets count bytes from the stream's start. acked ≤ sent ≤ made, and sent ≤ acked + window.
type Outbox struct {
	header string // of every message
	window int64  // 0 means that there is no flow control: bytes that were sent count as acknowledged
	large  int    // the size of a large chunk, in bytes

	chunks            []*outChunk
	acked, sent, made int64
	farthest          int64 // the highest value that sent has had
	forgets           bool  // nothing is sent twice

	busy bool // the stream carries much, so its chunks are large
	calm int  // small reads in a row

	ended bool      // no more bytes will be made
	lent  *outChunk // Lend has handed out its free room; nil if there is none

	sending   *outChunk       // has the message that is being sent; nil if there is none
	at        int             // where its header begins there
	displaced [maxHeader]byte // the bytes in the header's place
}

const (
	// maxHeader is how many bytes a message's header has at most.
	maxHeader = 32
	// smallRoom is the size, in bytes, of a small chunk. A stream that carries little has one, so an idle process costs
	// little memory.
	smallRoom = 1 << 10
	// largeRoom is the size, in bytes, of a large chunk at most.
	largeRoom = 256 << 10
	// calmReads is how many small reads in a row make a busy stream an idle one.
	calmReads = 16
)

// outChunk holds a part of the stream. In front of the part is room for a message's header.
type outChunk struct {
	first int64 // the offset of its first byte
	n     int   // bytes that it holds
	room  int   // bytes that it may hold
	data  []byte
}

func (c *outChunk) end() int64   { return c.first + int64(c.n) }
func (c *outChunk) free() []byte { return c.data[maxHeader+c.n : maxHeader+c.room] }

var (
	smallChunks = sync.Pool{New: func() any { return &outChunk{data: make([]byte, maxHeader+smallRoom)} }}
	largeChunks = sync.Pool{New: func() any { return &outChunk{data: make([]byte, maxHeader+largeRoom)} }}
)

func putChunk(c *outChunk) {
	if len(c.data) == maxHeader+smallRoom {
		smallChunks.Put(c)
	} else {
		largeChunks.Put(c)
	}
}

// NewOutbox returns an Outbox for a stream whose messages begin with the header, which has at most 32 bytes. The peer
// takes window bytes unacknowledged. 0 means a peer without flow control.
func NewOutbox(header string, window int64) *Outbox {
	return &Outbox{header: header, window: window, large: largeRoom}
}

// SetLargest says how many bytes the largest message carries. A large chunk then makes a whole number of them.
func (o *Outbox) SetLargest(n int) { o.large = max(largeRoom/n, 1) * min(n, largeRoom) }

// SetWindow sets the peer's window. It must not shrink.
func (o *Outbox) SetWindow(window int64) { o.window = window }

// Forget says that nothing is sent twice. Then no byte is kept once it is sent, whatever the peer has acknowledged.
func (o *Outbox) Forget() { o.forgets = true }

// kept returns the offset of the first byte that may be sent, now or again.
func (o *Outbox) kept() int64 {
	if o.forgets {
		return o.sent
	}
	return o.acked
}

// Room returns how many bytes more may be made. It is negative if there are too many.
func (o *Outbox) Room() int64 {
	if o.window == 0 {
		return largeRoom - (o.made - o.sent)
	}
	return o.acked + o.window - o.made
}

// Unsent returns how many bytes may be sent now.
func (o *Outbox) Unsent() int64 {
	if o.window == 0 {
		return o.made - o.sent
	}
	return min(o.made, o.acked+o.window) - o.sent
}

// Sent returns how many bytes have been sent, those of the current Message included.
func (o *Outbox) Sent() int64 { return o.sent }

// Made returns how many bytes have been made.
func (o *Outbox) Made() int64 { return o.made }

// AllSent reports whether all bytes that were made have been sent, and no message is being sent.
func (o *Outbox) AllSent() bool { return o.sent == o.made && o.sending == nil }

// Space returns where the next bytes are to be put, at least one. Commit says how many were. Nothing else may be made
// between the two.
func (o *Outbox) Space() []byte {
	room := smallRoom
	if o.busy {
		room = o.large
	}
	if tail := o.tail(); tail != nil && tail != o.lent {
		switch {
		case tail.end() > o.kept() || tail == o.sending:
			if free := tail.free(); len(free) >= tail.room/16 && (tail.room == room || len(free) > room) {
				return free
			}
		case tail.room == room:
			tail.first, tail.n = o.made, 0
			return tail.free()
		default:
			putChunk(tail)
			o.chunks = o.chunks[:len(o.chunks)-1]
		}
	}
	pool := &smallChunks
	if o.busy {
		pool = &largeChunks
	}
	c := pool.Get().(*outChunk)
	c.first, c.n, c.room = o.made, 0, room
	o.chunks = append(o.chunks, c)
	return c.free()
}

// Lend is Space for a read that may take long. Space, Commit and Message work meanwhile. Return says how many bytes were
// read.
func (o *Outbox) Lend() []byte {
	space := o.Space()
	o.lent = o.tail()
	return space
}

// Return makes the first n bytes that Lend returned part of the stream.
func (o *Outbox) Return(n int) {
	c := o.lent
	o.lent = nil
	if c == o.tail() {
		o.Commit(n)
		return
	}
	for p := c.free()[:n]; len(p) > 0; {
		m := copy(o.Space(), p)
		o.Commit(m)
		p = p[m:]
	}
	o.trim()
}

func (o *Outbox) tail() *outChunk {
	if len(o.chunks) == 0 {
		return nil
	}
	return o.chunks[len(o.chunks)-1]
}

// Expect says how many bytes are about to be made. Space then returns a room that suits them.
func (o *Outbox) Expect(n int) { o.busy = n > smallRoom }

// Commit makes the first n bytes of Space part of the stream.
func (o *Outbox) Commit(n int) {
	tail := o.tail()
	tail.n += n
	o.made += int64(n)
	switch {
	case n >= smallRoom/2 || len(tail.free()) == 0:
		o.busy, o.calm = true, 0
	case o.busy:
		if o.calm++; o.calm == calmReads {
			o.busy, o.calm = false, 0
		}
	}
}

// Message returns a message with the next bytes to be sent, at most most of them, and counts them as sent. There must be
// some: see Unsent. The message is valid until Written, which must follow.
func (o *Outbox) Message(most int) []byte {
	c := o.chunkAt(o.sent)
	from := int(o.sent - c.first)
	n := int(min(int64(min(most, c.n-from)), o.Unsent()))
	o.sending, o.at = c, maxHeader+from-len(o.header)
	// The header displaces bytes that may have to be sent again.
	gap := c.data[o.at : o.at+len(o.header)]
	copy(o.displaced[:], gap)
	copy(gap, o.header)
	o.sent += int64(n)
	o.farthest = max(o.farthest, o.sent)
	return c.data[o.at : maxHeader+from+n]
}

// chunkAt returns the chunk that holds the byte at an offset.
func (o *Outbox) chunkAt(offset int64) *outChunk {
	for i := len(o.chunks) - 1; i > 0; i-- {
		if o.chunks[i].first <= offset {
			return o.chunks[i]
		}
	}
	return o.chunks[0]
}

// Written says that the last Message is no longer used.
func (o *Outbox) Written() {
	copy(o.sending.data[o.at:], o.displaced[:len(o.header)])
	o.sending = nil
	if o.window == 0 {
		o.acked = o.sent
	}
	o.trim()
}

// Ack records that the peer has consumed the first offset bytes. 0 says nothing. Its error matches ErrAck.
func (o *Outbox) Ack(offset int64) error {
	if offset == 0 {
		return nil
	}
	if offset < o.acked || offset > o.sent {
		return xerrors.Errorf("ack of %d bytes, sent are %d and acknowledged %d: %w", offset, o.sent, o.acked, ErrAck)
	}
	o.acked = offset
	o.trim()
	return nil
}

// Rewind makes the bytes from the offset on unsent. Its error matches ErrGap.
func (o *Outbox) Rewind(offset int64) error {
	if offset < o.kept() || offset > o.farthest {
		return xerrors.Errorf("resume at byte %d, sent are %d and kept from %d: %w", offset, o.farthest, o.kept(), ErrGap)
	}
	o.sent = offset
	return nil
}

// End says that no more bytes will be made.
func (o *Outbox) End() {
	o.ended = true
	if tail := o.tail(); tail != nil && tail.n == 0 && !o.inUse(tail) {
		putChunk(tail)
		o.chunks = o.chunks[:len(o.chunks)-1]
	}
	o.trim()
}

// Release returns all memory that is not in use. Nothing can be sent after that.
func (o *Outbox) Release() {
	for _, c := range o.chunks {
		if !o.inUse(c) {
			putChunk(c)
		}
	}
	o.chunks = nil
	o.sent, o.acked = o.made, o.made
}

// trim returns the chunks whose bytes were all consumed. Until the end the last chunk may be in use as Space.
func (o *Outbox) trim() {
	most, done := len(o.chunks), 0
	if !o.ended {
		most--
	}
	for done < most && o.chunks[done].end() <= o.kept() && !o.inUse(o.chunks[done]) {
		putChunk(o.chunks[done])
		done++
	}
	if done > 0 {
		n := copy(o.chunks, o.chunks[done:])
		clear(o.chunks[n:])
		o.chunks = o.chunks[:n]
	}
}

func (o *Outbox) inUse(c *outChunk) bool { return c == o.sending || c == o.lent }
