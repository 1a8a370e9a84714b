package wsconn

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// joiner sends each WebSocket frame with one write. The libraries write a frame in pieces, of 4 KiB if they mask it.
// Each piece would cost a system call, a segment and a wake-up of the receiver.
//
// It holds back incomplete frames only: a Write that ends a frame sends it.
type joiner struct {
	w io.Writer

	mu     sync.Mutex // guards what follows
	held   *[]byte    // pieces of a frame; nil if there are none
	frames frameCounter
	ended  *sync.Cond // tells that a frame has ended, or the connection; nil if nobody waits for that
	closed bool       // the connection is closed; only with ended
	head   []byte     // the header of a message that is written past the library
	pair   [2][]byte  // for a write of two pieces
	pieces net.Buffers
}

// maxHeld is how many bytes a joiner holds back. A larger frame is sent in pieces.
const maxHeld = 512 << 10

// largePiece is the size from which a piece is not copied, in bytes.
const largePiece = 8 << 10

var heldPool = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// Write implements io.Writer.
func (j *joiner) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	flush := j.frames.count(p)
	if flush && j.ended != nil {
		defer j.ended.Broadcast()
	}
	switch {
	case j.held == nil && (flush || len(p) >= maxHeld):
		return j.w.Write(p)
	case j.held == nil:
		j.held = heldPool.Get().(*[]byte)
	case len(p) >= largePiece:
		return len(p), j.send(p)
	}
	*j.held = append(*j.held, p...)
	if flush || len(*j.held) >= maxHeld {
		return len(p), j.send(nil)
	}
	return len(p), nil
}

// send sends the held pieces and p. The lock is held.
func (j *joiner) send(p []byte) (err error) {
	if len(p) == 0 {
		_, err = j.w.Write(*j.held)
	} else {
		j.pair = [2][]byte{*j.held, p}
		j.pieces = j.pair[:]
		_, err = j.pieces.WriteTo(j.w)
		j.pair = [2][]byte{}
	}
	*j.held = (*j.held)[:0]
	heldPool.Put(j.held)
	j.held = nil
	return err
}

// frameCounter follows a stream of WebSocket frames (RFC 6455 section 5.2) that comes in any pieces.
type frameCounter struct {
	header  [14]byte // of the frame that has begun
	have    int      // bytes of header so far
	payload uint64   // bytes of the payload that are still to come
}

// count takes the next piece and reports whether it ends with the end of a frame.
func (c *frameCounter) count(p []byte) bool {
	for len(p) > 0 {
		p = p[c.take(p):]
	}
	return c.between()
}

// between reports whether no frame has begun that has not ended.
func (c *frameCounter) between() bool { return c.have == 0 && c.payload == 0 }

// take takes the next bytes, at most up to a frame's end, and returns how many it took.
func (c *frameCounter) take(p []byte) (n int) {
	for n < len(p) {
		if c.payload == 0 {
			c.header[c.have] = p[n]
			c.have++
			n++
			if size, ok := c.headerSize(); !ok || c.have < size {
				continue
			}
			c.payload = c.payloadSize()
			c.have = 0
		} else {
			m := min(uint64(len(p)-n), c.payload)
			c.payload -= m
			n += int(m)
		}
		if c.payload == 0 {
			return n
		}
	}
	return n
}

// headerSize returns the size of the header that has begun, if it is known already.
func (c *frameCounter) headerSize() (int, bool) {
	if c.have < 2 {
		return 0, false
	}
	size := 2
	switch c.header[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if c.header[1]&0x80 != 0 {
		size += 4 // the mask
	}
	return size, true
}

// payloadSize returns the payload's size from a complete header.
func (c *frameCounter) payloadSize() uint64 {
	switch n := c.header[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(c.header[2:]))
	case 127:
		return binary.BigEndian.Uint64(c.header[2:])
	default:
		return uint64(n)
	}
}
