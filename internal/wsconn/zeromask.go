package wsconn

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// A client masks what it sends with a random key, so that a page can't choose the bytes that an intermediary sees (RFC 6455 section
// 10.3). A key of zero changes nothing. The bytes are then neither copied nor masked here, and the server need not unmask them.

// SetZeroMask says whether large messages are masked with zero. They are not unless no intermediary can see them: see isPrivate. It is
// called while nothing is written.
func (n *CoderConn) SetZeroMask(on bool) {
	n.zeroMask.Store(on && n.dialed != nil && n.dialed.private != nil)
}

// isPrivate reports whether no intermediary can see what is sent over a new connection of a transport for a request: it is encrypted up
// to the host, or stays on this machine and goes to no proxy.
func isPrivate(t *http.Transport, r *http.Request, conn net.Conn) bool {
	if r.URL.Scheme == "https" {
		_, encrypted := conn.(*tls.Conn)
		return encrypted
	}
	if t.Proxy != nil {
		if proxy, err := t.Proxy(r); proxy != nil || err != nil {
			return false
		}
	}
	switch conn := conn.(type) {
	case *net.UnixConn:
		return true
	case *net.TCPConn:
		return isLoopback(conn.RemoteAddr())
	}
	return false
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// writeMessage sends p as a binary message in one frame, with a mask of zero. It does not keep p. If the context ends before p is
// written, the connection is closed.
func (b *joinedBody) writeMessage(ctx context.Context, p []byte) error {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { _ = b.Close() })()
	}
	return b.joiner.writeMessage(b.private, p)
}

// writeMessage sends a message over w between two frames of the library, but none after a close frame.
func (j *joiner) writeMessage(w net.Conn, p []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.frames.between() && !j.closed {
		j.ended.Wait()
	}
	if j.closed || j.frames.opcode() == opClose {
		return net.ErrClosed
	}
	j.head = appendHeader(j.head[:0], len(p))
	j.pair = [2][]byte{j.head, p}
	j.pieces = j.pair[:]
	_, err := j.pieces.WriteTo(w)
	j.pair = [2][]byte{}
	return err
}

// opClose is the opcode of a close frame (RFC 6455 section 5.2).
const opClose = 8

// opcode returns the opcode of the last frame, or the one that has begun. It is 0 before the first.
func (c *frameCounter) opcode() byte { return c.header[0] & 0x0f }

// close ends the waits for a frame's end.
func (j *joiner) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.ended.Broadcast()
}
