// Package idletest checks that a server closes idle connections.
package idletest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a server may keep an idle connection.
const patience = 2 * time.Minute

// Check serves connections that fall silent at different points. It checks, in fake time, that the server closes all of
// them. serve serves until the listener is closed.
func Check(t *testing.T, serve func(net.Listener)) {
	for name, sent := range map[string]string{
		"nothing":          "",
		"half of a header": "GET / HTTP/1.1\r\nHost: localhost\r\n",
		"half of a body":   "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf",
		"a request":        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
				go serve(l) // Ends when the listener is closed.
				defer l.Close()
				near, far := net.Pipe()
				defer near.Close()
				l.conns <- far
				_, err := io.WriteString(near, sent)
				require.NoError(t, err)
				r := bufio.NewReader(near)
				require.NoError(t, near.SetReadDeadline(time.Now().Add(patience)))
				if resp, err := http.ReadResponse(r, nil); err == nil {
					_ = resp.Body.Close()
				}
				_, err = io.Copy(io.Discard, r)
				require.NoError(t, err, "the connection is still there after %v", patience)
			})
		})
	}
}

// listener accepts the connections of conns.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
