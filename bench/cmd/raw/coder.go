package main

import (
	"context"
	"io"
	"net/http"

	"github.com/coder/websocket"
)

type coderConn struct{ c *websocket.Conn }

func dialCoder(ctx context.Context, url string) (conn, error) {
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(messageSize)
	return coderConn{c}, nil
}

func acceptCoder(w http.ResponseWriter, r *http.Request) (conn, error) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(messageSize)
	return coderConn{c}, nil
}

func (c coderConn) Reader(ctx context.Context) (io.Reader, error) {
	_, r, err := c.c.Reader(ctx)
	if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
		return nil, io.EOF
	}
	return r, err
}

func (c coderConn) Write(ctx context.Context, p []byte) error {
	return c.c.Write(ctx, websocket.MessageBinary, p)
}

// Close closes the connection. It does nothing if the peer has closed it.
func (c coderConn) Close() error {
	_ = c.c.Close(websocket.StatusNormalClosure, "")
	return nil
}
