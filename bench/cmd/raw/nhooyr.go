package main

import (
	"context"
	"io"
	"net/http"

	"nhooyr.io/websocket"
)

type nhooyrConn struct{ c *websocket.Conn }

func dialNhooyr(ctx context.Context, url string) (conn, error) {
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(messageSize)
	return nhooyrConn{c}, nil
}

func acceptNhooyr(w http.ResponseWriter, r *http.Request) (conn, error) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(messageSize)
	return nhooyrConn{c}, nil
}

func (c nhooyrConn) Reader(ctx context.Context) (io.Reader, error) {
	_, r, err := c.c.Reader(ctx)
	if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
		return nil, io.EOF
	}
	return r, err
}

func (c nhooyrConn) Write(ctx context.Context, p []byte) error {
	return c.c.Write(ctx, websocket.MessageBinary, p)
}

// Close closes the connection. It does nothing if the peer has closed it.
func (c nhooyrConn) Close() error {
	_ = c.c.Close(websocket.StatusNormalClosure, "")
	return nil
}
