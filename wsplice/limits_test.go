package wsplice

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// Limits for clients and channels, and the memory that they take.

func TestLimits(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.MaxClients, s.MaxChannels, s.MaxMessage = 2, 2, 1000 })
	p, other := connectPeer(t, url), connectPeer(t, url)
	_, resp, err := websocket.DefaultDialer.Dial(url, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)

	remote := backend(t, func(c *websocket.Conn) {
		_ = c.WriteMessage(websocket.TextMessage, make([]byte, 1000))
		_, _, _ = c.ReadMessage()
		_ = c.WriteMessage(websocket.TextMessage, make([]byte, 1001))
		_, _, err := c.ReadMessage()
		if !websocket.IsCloseError(err, 1009) {
			t.Error(err)
		}
	})
	index := p.connect(remote)
	_, _, m := p.receive()
	require.Len(t, m, 1000)
	p.send(index, websocket.TextMessage, "more")
	p.expectDisconnect(index, 1009)

	p.connect(backend(t, echo))
	p.connect(backend(t, echo))
	p.command(fmt.Sprintf(`{"method":"connect","params":{"url":%q}}`, remote))
	require.Equal(t, "too many connections", p.expectError(CodeDialError).Message)

	p.send(0, websocket.TextMessage, strings.Repeat("x", 998))
	p.receive()
	p.send(0, websocket.TextMessage, strings.Repeat("x", 999))
	p.expectClose(1009)
	other.connect(backend(t, echo))
}

func TestRequestsOfForeignPagesAreRefused(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.AllowedOrigins = []string{"https://*.example.com"} })
	for _, tc := range []struct {
		host, origin string
		status       int
	}{
		{"", "", 101},
		{"localhost", "http://localhost", 101},
		{"", "https://a.example.com", 101},
		{"", "https://example.org", 403},
		{"", "null", 403},
		{"evil.example", "", 403},
		{"evil.example", "http://evil.example", 403},
	} {
		header := http.Header{}
		if tc.host != "" {
			header.Set("Host", tc.host)
		}
		if tc.origin != "" {
			header.Set("Origin", tc.origin)
		}
		header.Set("X-Secret", "not to be reflected")
		c, resp, err := websocket.DefaultDialer.Dial(url, header)
		require.Equal(t, tc.status, resp.StatusCode, "%+v: %v", tc, err)
		require.Empty(t, resp.Header.Get("X-Secret"))
		if err == nil {
			_ = c.Close()
		}
	}
}

// TestIdleChannelsAreSmall measures the memory of one more channel. The process also has the client and the remotes.
func TestIdleChannelsAreSmall(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	// The remotes cost as little as possible: they have no goroutines and no buffers.
	var conns []net.Conn
	var mu sync.Mutex
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := ws.Upgrade(conn); err != nil {
				t.Error(err)
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	})
	remote := "ws://" + listener.Addr().String()
	const warm, many = 20, 400
	for range warm {
		p.connect(remote)
	}
	before := inUse()
	for range many {
		p.connect(remote)
	}
	each := (inUse() - before) / many
	t.Logf("%d bytes a channel, the remote's descriptor included", each)
	require.Less(t, each, uint64(16<<10))
	_ = listener.Close()
	wg.Wait()
	for _, conn := range conns {
		_ = conn.Close()
	}
	for range warm + many {
		_, _, m := p.receive()
		require.Contains(t, m, "1006")
	}
}
