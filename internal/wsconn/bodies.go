package wsconn

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// defaultMinBody is the size, in bytes, from which a message's body is worth a way of its own.
const defaultMinBody = 16 << 10

// bodies stands between a server's connection and its library. The library gets a large message without its body. The body
// is taken from the connection itself, so it can be moved to a pipe and is never in this program's memory.
//
// That goes for a message in one frame whose mask is zero: the bytes on the connection are the message's. All else goes to
// the library as it is.
type bodies struct {
	conn net.Conn
	left atomic.Pointer[leaving] // nil: all bodies go to the library

	mu     sync.Mutex   // held while bytes are taken from the connection; guards what follows
	frames frameCounter // of what goes to the library
	buffer []byte       // ahead's; nil before the first use
	ahead  []byte       // was taken from the connection and comes next
	made   []byte       // is given to the library before that: a message without its body
	space  [48]byte     // made's
	rest   int          // how many bytes of a body are still to be taken
	before int          // how many bytes came before the last frame's body; 0 if it went to the library
	lost   bool         // the library has read on, and so dropped a body
	moving              // of the system
}

// leaving says which messages leave their bodies.
type leaving struct {
	prefix string // what such a message begins with
	min    int    // the size of the smallest body, in bytes
	max    uint64 // the size of the largest message, in bytes
}

// aheadSize is how many bytes are taken at once where a frame begins.
const aheadSize = 512

// Read gives the library the next bytes.
func (b *bodies) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.made) > 0 {
		return b.giveMade(p), nil
	}
	if err := b.drop(p); err != nil {
		return 0, err
	}
	left := b.left.Load()
	if left != nil && b.frames.between() {
		if err := b.look(left); err != nil {
			return 0, err
		}
	}
	switch {
	case len(b.made) > 0:
		return b.giveMade(p), nil
	case len(b.ahead) > 0:
		n := b.frames.take(b.ahead[:min(len(p), len(b.ahead))])
		copy(p, b.ahead[:n])
		b.skipAhead(n)
		return n, nil
	case left != nil && b.frames.payload > 0:
		p = p[:min(uint64(len(p)), b.frames.payload)] // So that the next frame is looked at.
	}
	n, err := b.conn.Read(p)
	b.frames.count(p[:n])
	return n, ended(err)
}

func (b *bodies) giveMade(p []byte) int {
	n := copy(p, b.made)
	b.made = b.made[n:]
	return n
}

// drop drops the rest of a body that the library does not know of. It reads on while it closes the connection.
func (b *bodies) drop(p []byte) error {
	b.lost = b.lost || b.rest > 0
	for b.rest > 0 {
		if _, err := b.readBody(p); err != nil {
			return err
		}
	}
	return nil
}

// look takes bytes from the connection until they show whether the frame that begins there leaves its body. If it does, made is
// the message without it. The lock is held.
func (b *bodies) look(left *leaving) error {
	for {
		start, size, enough := left.find(b.ahead)
		switch {
		case !enough:
			if err := b.takeMore(); err != nil {
				return err
			}
			continue
		case size > 0:
			b.skipAhead(start)
			b.rest = size
			b.made = appendHeader(b.space[:0], len(left.prefix))
			b.made = append(b.made, left.prefix...)
		}
		b.before = start
		return nil
	}
}

// takeMore takes bytes ahead. A body may follow another one. Then it takes just what comes before a body, since more would have
// to be copied. The lock is held.
func (b *bodies) takeMore() error {
	if b.buffer == nil {
		b.buffer = make([]byte, aheadSize)
	}
	have := copy(b.buffer, b.ahead)
	most := aheadSize
	if have < b.before {
		most = b.before
	}
	n, err := b.conn.Read(b.buffer[have:most])
	b.ahead = b.buffer[:have+n]
	return ended(err)
}

// skipAhead removes the next n bytes from ahead. The memory of the http.Server, which the first bytes may be in, is not kept. The lock is held.
func (b *bodies) skipAhead(n int) {
	if b.ahead = b.ahead[n:]; len(b.ahead) == 0 {
		b.ahead = nil
	}
}

// find looks at the beginning of a frame. If the frame leaves its body, find returns where that starts and its size. The size is 0
// if it does not. enough says that p was enough to tell.
func (l *leaving) find(p []byte) (start, size int, enough bool) {
	const (
		wholeBinary = 0x82 // FIN and the opcode, and no extension
		masked16    = 0x80 | 126
		masked64    = 0x80 | 127
	)
	if len(p) > 0 && p[0] != wholeBinary {
		return 0, 0, true
	}
	if len(p) < 2 {
		return 0, 0, false
	}
	switch p[1] {
	case masked16, masked64:
	default:
		return 0, 0, true
	}
	var header frameCounter
	header.have = copy(header.header[:], p)
	n, _ := header.headerSize()
	start = n + len(l.prefix)
	if len(p) < start {
		return 0, 0, false // More will come: the message has 126 bytes at least.
	}
	payload := header.payloadSize()
	if binary.NativeEndian.Uint32(p[n-4:]) != 0 || string(p[n:start]) != l.prefix ||
		payload > l.max || payload < uint64(len(l.prefix)+l.min) {
		return 0, 0, true
	}
	return start, int(payload) - len(l.prefix), true
}

// appendHeader appends the header of a frame with a whole binary message of n bytes and a mask of zero.
func appendHeader(b []byte, n int) []byte {
	b = append(b, 0x82)
	switch {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(b, 0, 0, 0, 0)
}

// readBody reads from a body. The lock is held.
func (b *bodies) readBody(p []byte) (n int, err error) {
	p = p[:min(len(p), b.rest)]
	if len(b.ahead) > 0 {
		n = copy(p, b.ahead)
		b.skipAhead(n)
	} else {
		n, err = b.conn.Read(p)
	}
	b.rest -= n
	return n, ended(err)
}

// Body is a message's body that was left on the connection. It must be read to its end before the next message is. One goroutine
// may use it.
type Body bodies

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.state(); err != nil {
		return 0, err
	}
	return (*bodies)(b).readBody(p)
}

// state returns io.EOF at the body's end. The lock is held.
func (b *Body) state() error {
	switch {
	case b.lost:
		return errEnded
	case b.rest == 0:
		return io.EOF
	}
	return nil
}

// LeavesBodies reports whether LeaveBodies has an effect: Accept has made the connection, on Linux, and it is a socket of TCP or of
// the Unix domain without TLS.
func (n *CoderConn) LeavesBodies() bool {
	return canMove && n.accepted != nil && isSocket(n.accepted.Conn)
}

// isSocket reports whether a connection is a socket itself, and not one with something on top.
func isSocket(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// LeaveBodies makes large messages that begin with a prefix, of max bytes at most, leave their bodies if their mask is zero. A Reader
// then ends after the prefix, and Body returns the rest. An empty prefix ends that. It takes effect while the connection is read, from
// one of the next messages on.
func (n *CoderConn) LeaveBodies(prefix string, max int64) {
	if !n.LeavesBodies() {
		return
	}
	var left *leaving
	if prefix != "" {
		left = &leaving{prefix, n.minBody, uint64(max)}
	}
	n.accepted.bodies.left.Store(left)
}

// SetMinBody sets the size, in bytes, from which a message is large, on both ends. It is for tests, and is called before the connection is
// used.
func (n *CoderConn) SetMinBody(size int) { n.minBody = size }

// Body returns what the message has left whose prefix was read. It returns nil if that is nothing.
func (n *CoderConn) Body() *Body {
	if n.accepted == nil {
		return nil
	}
	b := &n.accepted.bodies
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rest == 0 && !b.lost {
		return nil
	}
	return (*Body)(b)
}
