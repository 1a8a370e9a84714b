package wsplice

import (
	"net"
	"os"
	"sync"
	"time"
)

// line is a WebSocket's network connection. One goroutine reads it, and one at a time writes it. The methods for
// deadlines and interrupt are safe for concurrent use.
type line struct {
	net.Conn
	raw *rawConn // nil if the connection has no descriptor of its own

	mu          sync.Mutex // guards what follows. Held while a deadline is set, so that none is set after an interrupt
	readsEnded  bool
	writesEnded bool
}

func newLine(conn net.Conn) *line { return &line{Conn: conn, raw: newRawConn(conn)} }

// past is a deadline in the past.
var past = time.Unix(1, 0)

// interrupt fails all reads and writes, those that wait and all later ones. The reader then closes the connection.
// Closing it here would wait for a read to return.
func (l *line) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readsEnded, l.writesEnded = true, true
	_ = l.SetDeadline(past)
}

// interruptReads fails all reads, the one that waits and all later ones.
func (l *line) interruptReads() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readsEnded = true
	_ = l.SetReadDeadline(past)
}

// resumeReads allows reads again, unless interrupt has been called.
func (l *line) resumeReads() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readsEnded = l.writesEnded; !l.readsEnded {
		_ = l.SetReadDeadline(time.Time{})
	}
}

// endReads fails reads after d. 0 means never.
func (l *line) endReads(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.readsEnded {
		_ = l.SetReadDeadline(after(d))
	}
}

// endWrites fails writes after d. 0 means never.
func (l *line) endWrites(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.writesEnded {
		_ = l.SetWriteDeadline(after(d))
	}
}

func after(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// hungUp reports whether the other end is known to have closed the connection, even if there are bytes left to read.
// This is known on systems that tell, and after all bytes of the other end have reached this machine.
func (l *line) hungUp() bool { return hungUp(l.Conn) }

// tlsRecord is how many bytes are written at a time with TLS. The write timeout is for each of them.
const tlsRecord = 16 << 10

// writeNow writes as many bytes as the system takes at once. Without a descriptor it writes none.
func (l *line) writeNow(pieces [][]byte) (int, error) {
	if l.raw == nil {
		return 0, nil
	}
	return l.raw.writeNow(pieces)
}

// writeSome waits until the system takes bytes, and writes some.
func (l *line) writeSome(pieces [][]byte) (int, error) {
	if l.raw == nil {
		return l.Write(pieces[0][:min(len(pieces[0]), tlsRecord)])
	}
	return l.raw.writeSome(pieces)
}

// writeAll writes all pieces, and changes them. It fails when nothing could be written for the timeout.
func (l *line) writeAll(pieces [][]byte, timeout time.Duration) error {
	n, err := l.writeNow(pieces)
	if pieces = advance(pieces, n); err != nil || len(pieces) == 0 {
		return err
	}
	defer l.endWrites(0)
	for len(pieces) > 0 {
		l.endWrites(timeout)
		n, err := l.writeSome(pieces)
		if err != nil {
			return err
		}
		pieces = advance(pieces, n)
	}
	return nil
}

// advance removes the first n bytes from the pieces.
func advance(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces
}

// readBuffer is where a connection's bytes are read to.
type readBuffer interface {
	// room returns where to read to.
	room() []byte
	// filled notes that n bytes have been read there.
	filled(n int)
}

// intake reads a connection in chunks. It has a buffer only while there are bytes in it, so an idle connection costs no
// memory. A connection without a descriptor always has a small buffer, because a read must wait with one. One goroutine
// uses an intake.
type intake struct {
	line  *line
	stall time.Duration // how long a frame that has begun may make no progress; 0 means no limit

	buf  []byte      // bytes that were read and not consumed
	mem  *[]byte     // the memory of buf; nil if there is none
	pool *bufferPool // where mem goes back to; nil if it is left to the garbage collector
	want int         // how many bytes buf must be able to hold
	busy bool        // the last read filled its buffer
	own  *[]byte     // the small buffer of a connection without a descriptor
}

// ownSize is the size of the small buffer of a connection without a descriptor, in bytes.
const ownSize = 4 << 10

func newIntake(l *line, stall time.Duration) *intake {
	in := &intake{line: l, stall: stall}
	if l.raw == nil {
		b := make([]byte, 0, ownSize)
		in.own = &b
	}
	return in
}

// preload puts bytes before those that will be read.
func (in *intake) preload(p []byte) {
	for len(p) > 0 {
		in.want = len(in.buf) + len(p)
		n := copy(in.room(), p)
		in.filled(n)
		p = p[n:]
	}
}

// consume removes n bytes from the front. want is the size of the frame that the rest begins, or 0 if it is not known.
func (in *intake) consume(n, want int) {
	in.want = want
	if n == len(in.buf) {
		in.release()
		return
	}
	if n > 0 {
		in.buf = (*in.mem)[:copy((*in.mem)[:len(in.buf)], in.buf[n:])]
	}
}

func (in *intake) release() {
	if in.pool != nil {
		in.pool.put(in.mem)
	}
	in.mem, in.pool, in.buf = nil, nil, nil
}

// fill waits for bytes and appends them to buf. inFrame says that a frame has begun.
func (in *intake) fill(inFrame bool) error {
	if in.stall == 0 || !inFrame && len(in.buf) == 0 {
		_, err := in.read(true)
		return err
	}
	if in.line.raw != nil {
		if n, err := in.read(false); n > 0 || err != nil {
			return err
		}
	}
	in.line.endReads(in.stall)
	defer in.line.endReads(0)
	_, err := in.read(true)
	return err
}

func (in *intake) read(wait bool) (int, error) {
	if in.line.raw != nil {
		return in.line.raw.readInto(in, wait)
	}
	n, err := in.line.Read(in.room())
	in.filled(n)
	if n > 0 {
		return n, nil // The next read returns the error again.
	}
	return n, err
}

// room implements readBuffer.
func (in *intake) room() []byte {
	if in.mem == nil {
		in.take()
	}
	full := len(in.buf) == cap(*in.mem)
	if full || cap(*in.mem) <= smallChunk && in.want > cap(*in.mem) {
		in.grow(full)
	}
	return (*in.mem)[len(in.buf):cap(*in.mem)]
}

func (in *intake) take() {
	switch {
	case in.busy || in.want > smallChunk:
		in.pool = largePool
	case in.own != nil:
		in.mem, in.buf = in.own, (*in.own)[:0]
		return
	default:
		in.pool = smallPool
	}
	in.mem = in.pool.get()
	in.buf = (*in.mem)[:0]
}

// grow makes more room: a large chunk, and beyond that twice as much each time. So memory grows with the bytes that
// have arrived, and not with the size that a peer announces.
func (in *intake) grow(full bool) {
	var mem *[]byte
	pool := largePool
	if full && cap(*in.mem) >= largeChunk {
		b := make([]byte, 0, 2*cap(*in.mem))
		mem, pool = &b, nil
	} else {
		mem = largePool.get()
	}
	buf := append((*mem)[:0], in.buf...)
	in.release()
	in.mem, in.pool, in.buf = mem, pool, buf
}

// filled implements readBuffer.
func (in *intake) filled(n int) {
	in.buf = (*in.mem)[:len(in.buf)+n]
	if n == 0 {
		if len(in.buf) == 0 {
			in.release()
		}
		return
	}
	in.busy = len(in.buf) == cap(*in.mem)
}

// isTimeout reports whether an error comes from a deadline.
func isTimeout(err error) bool { return err != nil && os.IsTimeout(err) }
