package wsconn

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// canMove says that the system has splice(2).
const canMove = true

// moving is what bodies needs for MoveTo.
type moving struct {
	mover *mover // nil before the first use
}

// MoveTo moves bytes of the body to a pipe, without a copy. It waits until some have come, and then moves what the pipe takes of
// them without waiting. If that is nothing, now or for good, it returns 0 and no error. At the body's end it returns io.EOF.
func (b *Body) MoveTo(pipe syscall.RawConn) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.state(); err != nil {
		return 0, err
	}
	if b.mover == nil {
		if b.mover, err = newMover(b.conn); err != nil {
			return 0, err
		}
	}
	if len(b.ahead) > 0 {
		n = b.mover.write(pipe, b.ahead[:min(len(b.ahead), b.rest)])
		(*bodies)(b).skipAhead(n)
	} else if n, err = b.mover.move(pipe, b.rest); err != nil {
		return 0, ended(err)
	}
	b.rest -= n
	return n, nil
}

// mover moves bytes from a socket to pipes. It is kept so that a move does not allocate.
type mover struct {
	socket   syscall.RawConn
	fromHere func(socket uintptr) bool
	toPipe   func(pipe uintptr) bool
	writeTo  func(pipe uintptr) bool

	// The arguments and results of the call under way.
	pipe  syscall.RawConn
	from  int
	bytes []byte
	most  int
	n     int
	empty bool // nothing has come
	fds   [2]unix.PollFd
}

func newMover(conn io.Reader) (*mover, error) {
	socket, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	m := &mover{socket: socket}
	m.fromHere = func(socket uintptr) bool {
		m.from = int(socket)
		m.empty = false
		// This fails once the pipe is closed.
		_ = m.pipe.Write(m.toPipe)
		return !m.empty
	}
	m.toPipe = func(pipe uintptr) bool {
		m.splice(int(pipe))
		return true
	}
	m.writeTo = func(pipe uintptr) bool {
		m.n, _ = unix.Write(int(pipe), m.bytes)
		return true
	}
	return m, nil
}

// move moves at most most bytes. It waits until some have come.
func (m *mover) move(pipe syscall.RawConn, most int) (int, error) {
	m.pipe, m.most, m.n = pipe, most, 0
	err := m.socket.Read(m.fromHere)
	m.pipe = nil
	return m.n, err
}

// splice moves what has come and the pipe takes. An error is left to the next read or write, since it may be of either side.
func (m *mover) splice(pipe int) {
	for {
		n, err := unix.Splice(m.from, nil, pipe, nil, m.most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		m.n = max(0, int(n))
		if err != unix.EAGAIN {
			return
		}
		// Either there is nothing to move, or no room for it.
		hasBytes, hasRoom := m.poll(pipe)
		m.empty = hasRoom && !hasBytes
		if !hasRoom || !hasBytes {
			return
		}
	}
}

// poll reports whether the socket has bytes, and whether the pipe takes some.
func (m *mover) poll(pipe int) (hasBytes, hasRoom bool) {
	m.fds = [2]unix.PollFd{{Fd: int32(m.from), Events: unix.POLLIN}, {Fd: int32(pipe), Events: unix.POLLOUT}}
	if _, err := unix.Poll(m.fds[:], 0); err != nil {
		return false, false
	}
	return m.fds[0].Revents != 0, m.fds[1].Revents == unix.POLLOUT
}

// write writes what a pipe takes of p.
func (m *mover) write(pipe syscall.RawConn, p []byte) int {
	m.bytes, m.n = p, 0
	_ = pipe.Write(m.writeTo)
	m.bytes = nil
	return max(0, m.n)
}
