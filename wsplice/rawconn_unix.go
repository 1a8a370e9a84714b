//go:build unix

package wsplice

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawConn reads and writes a connection by its descriptor. So it can wait without holding a buffer, and can write as
// much as the system takes at once. One goroutine reads at a time, and one writes.
type rawConn struct {
	conn syscall.RawConn

	// Arguments and results of the system call in progress. They are kept here so that a call allocates nothing.
	in      readBuffer
	pieces  [][]byte
	read    rawCall
	write   rawCall
	onRead  func(fd uintptr) bool
	onWrite func(fd uintptr) bool
}

type rawCall struct {
	wait bool // until something can be done
	n    int
	err  error
}

// newRawConn returns nil for a connection without a descriptor of its own, such as one with TLS.
func newRawConn(conn net.Conn) *rawConn {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	r := &rawConn{conn: raw}
	r.onRead, r.onWrite = r.tryRead, r.tryWrite
	return r
}

// readInto reads into the buffer's room. It asks for the room only when there may be something to read. If wait is
// false, it returns 0 when there is nothing yet.
func (r *rawConn) readInto(in readBuffer, wait bool) (int, error) {
	r.in, r.read = in, rawCall{wait: wait}
	err := r.conn.Read(r.onRead)
	r.in = nil
	if err == nil && r.read.err == nil && r.read.n == 0 {
		err = io.EOF
	}
	return r.read.result("read", err)
}

func (r *rawConn) tryRead(fd uintptr) bool {
	c := &r.read
	p := r.in.room()
	c.n, c.err = unix.Read(int(fd), p)
	for c.err == unix.EINTR {
		c.n, c.err = unix.Read(int(fd), p)
	}
	r.in.filled(max(c.n, 0))
	return c.err != unix.EAGAIN || !c.wait
}

// writeNow writes as many bytes as the system takes at once.
func (r *rawConn) writeNow(pieces [][]byte) (int, error) { return r.doWrite(pieces, false) }

// writeSome waits until the system takes bytes, and writes as many as it takes then.
func (r *rawConn) writeSome(pieces [][]byte) (int, error) { return r.doWrite(pieces, true) }

func (r *rawConn) doWrite(pieces [][]byte, wait bool) (int, error) {
	r.pieces, r.write = pieces, rawCall{wait: wait}
	err := r.conn.Write(r.onWrite)
	r.pieces = nil
	return r.write.result("write", err)
}

func (r *rawConn) tryWrite(fd uintptr) bool {
	c := &r.write
	c.n, c.err = writePieces(int(fd), r.pieces)
	for c.err == unix.EINTR {
		c.n, c.err = writePieces(int(fd), r.pieces)
	}
	return c.err != unix.EAGAIN || !c.wait
}

// hungUp reports whether the other end has closed a connection, or the TCP connection under TLS.
func hungUp(conn net.Conn) (hup bool) {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: hangUp}}
		n, err := unix.Poll(fds, 0)
		hup = err == nil && n == 1 && fds[0].Revents&hangUp != 0
	})
	return hup
}

// result returns the result of a call. err is the runtime's error, for a closed connection or a passed deadline.
func (c *rawCall) result(name string, err error) (int, error) {
	n := max(c.n, 0)
	switch {
	case err != nil:
		return n, err
	case c.err == unix.EAGAIN:
		return 0, nil
	case c.err != nil:
		return n, os.NewSyscallError(name, c.err)
	}
	return n, nil
}
