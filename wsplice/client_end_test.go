package wsplice

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/timetest"
)

// The end of a client's connection.

// TestClientsEndReachesRemotes closes a client's connection in different ways.
func TestClientsEndReachesRemotes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		end    func(p *peer)
		code   int
		reason string
	}{
		{"with a code", func(p *peer) {
			_ = p.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "my reason"))
			p.expectClose(4321)
		}, 4321, "my reason"},
		{"without a code", func(p *peer) {
			_ = p.WriteMessage(websocket.CloseMessage, nil)
			p.expectClose(1005)
		}, 1005, ""},
		{"without a word", func(p *peer) { _ = p.NetConn().Close() }, 1001, "client is gone"},
		{"with a broken frame", func(p *peer) {
			_, _ = p.NetConn().Write(bytes.Repeat([]byte{0xff}, maxHeader))
			p.expectClose(1002)
		}, 1001, "client is gone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leaktest.Check(t)
			_, url := testServer(t, nil)
			ended := make(chan error, 3)
			remote := backend(t, func(c *websocket.Conn) {
				for {
					if _, _, err := c.ReadMessage(); err != nil {
						ended <- err
						return
					}
				}
			})
			p := connectPeer(t, url)
			for range 3 {
				p.connect(remote)
			}
			// A remote that never answers the close frame does not delay the others.
			p.connect(backend(t, func(c *websocket.Conn) { _, _ = io.Copy(io.Discard, c.NetConn()) }))
			elapsed := stopwatch(t)
			tc.end(p)
			for range 3 {
				err := timetest.Receive(t, ended)
				ce, ok := err.(*websocket.CloseError)
				require.True(t, ok, "%v", err)
				require.Equal(t, tc.code, ce.Code)
				require.Equal(t, tc.reason, ce.Text)
			}
			require.Less(t, elapsed(), time.Second)
		})
	}
}

func TestShutdown(t *testing.T) {
	leaktest.Check(t)
	s, url := testServer(t, nil)
	said := make(chan error, 1)
	p, idle := connectPeer(t, url), connectPeer(t, url)
	p.connect(backend(t, func(c *websocket.Conn) {
		_, _, err := c.ReadMessage()
		said <- err
	}))
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	elapsed := stopwatch(t)
	var wg sync.WaitGroup
	wg.Go(func() { p.expectClose(1001) })
	wg.Go(func() { idle.expectClose(1001) })
	require.NoError(t, s.Shutdown(ctx))
	require.Less(t, elapsed(), 3*time.Second)
	wg.Wait()
	require.True(t, websocket.IsCloseError(timetest.Receive(t, said), 1001))
	_, resp, err := websocket.DefaultDialer.Dial(url, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}

// TestRemoteDialedAtTheEnd adds a remote after its client's connection has been lost.
func TestRemoteDialedAtTheEnd(t *testing.T) {
	client, near := net.Pipe()
	s := newSession((&Server{}).options(), near, nil)
	require.NoError(t, client.Close())
	require.Error(t, s.run())

	far, conn := net.Pipe()
	defer far.Close()
	// The deadline is set before the other end is closed, because a pipe has no deadlines after that.
	require.NoError(t, far.SetReadDeadline(time.Now().Add(testTimeout)))
	s.add(1, newSplice(s, &remote{Conn: conn}, 0))
	_, err := far.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "the remote is to be closed")
	s.wg.Wait()
}
