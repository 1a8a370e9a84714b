package wsconn

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/coder/websocket"
)

// Coder returns c as a message connection.
func Coder(c *websocket.Conn) *CoderConn { return &CoderConn{c: c, minBody: defaultMinBody} }

// answersPing tells the library whether to answer a ping. The library can't answer after its own close frame. It would take the
// connection for broken and close it at once, before the peer has read that frame.
func (n *CoderConn) answersPing(context.Context, []byte) bool { return !n.closing.Load() }

// CoderConn is a connection of github.com/coder/websocket.
type CoderConn struct {
	c *websocket.Conn
	// under is what carries the connection, if Dial or Accept has made it; else nil.
	under io.Closer
	// accepted is that connection if Accept has made it; else nil.
	accepted *joinedConn
	// dialed is that connection if Dial has made it; else nil.
	dialed *joinedBody
	// closing says that Close was called.
	closing atomic.Bool
	// zeroMask says that large messages are masked with zero.
	zeroMask atomic.Bool
	// minBody is the size, in bytes, from which a message is large.
	minBody int
	// server is the value of ServerHeader in the answer to the handshake, if Dial has made the connection.
	server string
	// msg is the message being read, kept here so that a message costs no allocation.
	msg coderReader
}

// ServerMark returns the value of [ServerHeader] in the answer to the handshake, or "".
func (n *CoderConn) ServerMark() string { return n.server }

// Reader implements wsep.Conn.
func (n *CoderConn) Reader(ctx context.Context) (io.Reader, error) {
	_, r, err := n.c.Reader(ctx)
	if err != nil {
		return nil, coderError(err)
	}
	n.msg.r = r
	return &n.msg, nil
}

// Write implements wsep.Conn.
func (n *CoderConn) Write(ctx context.Context, p []byte) error {
	if len(p) >= n.minBody && n.zeroMask.Load() {
		return n.dialed.writeMessage(ctx, p)
	}
	return n.c.Write(ctx, websocket.MessageBinary, p)
}

// Ping implements wsep.Conn.
func (n *CoderConn) Ping(ctx context.Context) error { return n.c.Ping(ctx) }

// SetReadLimit implements wsep.Conn.
func (n *CoderConn) SetReadLimit(limit int64) { n.c.SetReadLimit(limit) }

// Close implements wsep.Conn.
func (n *CoderConn) Close(code int, reason string) error {
	n.closing.Store(true)
	return n.c.Close(websocket.StatusCode(code), reason)
}

// CloseNow implements wsep.Conn. While a Close waits for the peer, the library's CloseNow waits too.
func (n *CoderConn) CloseNow() error {
	if n.under != nil {
		_ = n.under.Close()
	}
	return n.c.CloseNow()
}

// coderReader gives the errors of a message's reader the same form as the connection's.
type coderReader struct{ r io.Reader }

func (r *coderReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = coderError(err)
	}
	return n, err
}

func coderError(err error) error {
	var ce websocket.CloseError
	if !errors.As(err, &ce) {
		return err
	}
	return &closeError{error: err, code: int(ce.Code), reason: ce.Reason}
}
