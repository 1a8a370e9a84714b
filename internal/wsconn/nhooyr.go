// Package wsconn adapts connections of WebSocket libraries to wsep.Conn. [Dial] and [Accept] make such connections.
package wsconn

import (
	"context"
	"errors"
	"io"

	"nhooyr.io/websocket"
)

// Nhooyr returns c as a message connection.
func Nhooyr(c *websocket.Conn) *NhooyrConn { return &NhooyrConn{c: c} }

// NhooyrConn is a connection of nhooyr.io/websocket.
type NhooyrConn struct {
	c *websocket.Conn
	// msg is the message being read, kept here so that a message costs no allocation.
	msg nhooyrReader
}

// Reader implements wsep.Conn.
func (n *NhooyrConn) Reader(ctx context.Context) (io.Reader, error) {
	_, r, err := n.c.Reader(ctx)
	if err != nil {
		return nil, nhooyrError(err)
	}
	n.msg.r = r
	return &n.msg, nil
}

// Write implements wsep.Conn.
func (n *NhooyrConn) Write(ctx context.Context, p []byte) error {
	return n.c.Write(ctx, websocket.MessageBinary, p)
}

// Ping implements wsep.Conn.
func (n *NhooyrConn) Ping(ctx context.Context) error { return n.c.Ping(ctx) }

// SetReadLimit implements wsep.Conn.
func (n *NhooyrConn) SetReadLimit(limit int64) { n.c.SetReadLimit(limit) }

// Close implements wsep.Conn.
func (n *NhooyrConn) Close(code int, reason string) error {
	return n.c.Close(websocket.StatusCode(code), reason)
}

// CloseNow implements wsep.Conn.
func (n *NhooyrConn) CloseNow() error { return n.c.CloseNow() }

// nhooyrReader gives the errors of a message's reader the same form as the connection's.
type nhooyrReader struct{ r io.Reader }

func (r *nhooyrReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = nhooyrError(err)
	}
	return n, err
}

func nhooyrError(err error) error {
	var ce websocket.CloseError
	if !errors.As(err, &ce) {
		return err
	}
	return &closeError{error: err, code: int(ce.Code), reason: ce.Reason}
}

// closeError is an error of a library. It has the peer's close frame in a form that does not depend on the library.
type closeError struct {
	error
	code   int
	reason string
}

func (e *closeError) Unwrap() error { return e.error }

// CloseStatus returns the code and the reason of the peer's close frame.
func (e *closeError) CloseStatus() (code int, reason string) { return e.code, e.reason }
