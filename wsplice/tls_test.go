package wsplice

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/timetest"
)

// Connections without a descriptor: TLS on both sides.

// TestSecureBothWays sends messages to a remote and back, with TLS to the server and to the remote.
func TestSecureBothWays(t *testing.T) {
	leaktest.Check(t)
	said := make(chan error, 1)
	remote, config := secureBackend(t, func(c *websocket.Conn) {
		for {
			kind, p, err := c.ReadMessage()
			if err != nil {
				said <- err
				return
			}
			_ = c.WriteMessage(kind, p)
		}
	})
	s := startServer(t, true, func(s *Server) { s.TLS = config })
	c := dialTest(t, s.url, &DialOptions{TLS: s.tls})
	ch := connectTest(t, c, remote)
	require.Nil(t, s.session(t).line.raw)
	require.Nil(t, s.session(t).table.get(0).line.raw)
	for _, n := range []int{1, 125, 126, tlsRecord - 1, tlsRecord, 65_536, 1 << 20} {
		message := strings.Repeat("x", n-1) + "y"
		require.NoError(t, ch.Write(t.Context(), []byte(message)))
		got, err := read(ch)
		require.NoError(t, err)
		require.True(t, message == got, "%d bytes of %d", len(got), n)
	}
	require.NoError(t, ch.Close(4001, "enough"))
	require.Equal(t, &websocket.CloseError{Code: 4001, Text: "enough"}, timetest.Receive(t, said))
}

// TestUntrustedRemoteIsRefused has a remote with a certificate of no trusted authority.
func TestUntrustedRemoteIsRefused(t *testing.T) {
	remote, _ := secureBackend(t, echo)
	s := startServer(t, false, func(s *Server) { s.TLS = &tls.Config{} })
	p := connectPeer(t, s.url)
	p.command(fmt.Sprintf(`{"id":1,"method":"connect","params":{"url":%q}}`, remote))
	require.Contains(t, p.expectError(CodeDialError).Message, "certificate")
}

// TestStalledSecureRemoteDelaysNobody has a remote with TLS that reads nothing.
func TestStalledSecureRemoteDelaysNobody(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	stalled, config := secureBackend(t, func(*websocket.Conn) { <-stop })
	echoes, _ := secureBackend(t, echo)
	s := startServer(t, true, func(s *Server) { s.TLS, s.WriteTimeout = config, time.Minute })
	p := s.connectPeer(t)
	deaf, lively := p.connect(stalled), p.connect(echoes)
	chunk := strings.Repeat("x", 1<<20)
	closed := false
	elapsed := stopwatch(t)
	for i := 0; !closed; i++ {
		require.Less(t, i, 40)
		p.send(deaf, websocket.BinaryMessage, chunk)
		began := elapsed()
		p.send(lively, websocket.TextMessage, fmt.Sprint(i))
		index, _, m := p.receive()
		for index == controlIndex {
			if !closed { // Later warnings are about messages that were sent before the client knew.
				require.Contains(t, m, errSlow.Error())
			}
			closed = true
			index, _, m = p.receive()
		}
		require.Equal(t, lively, index)
		require.Equal(t, fmt.Sprint(i), m)
		require.Less(t, elapsed()-began, soon)
	}
}

// TestSecureRemotesEnd has remotes with TLS. One sends a close frame, the other does not.
func TestSecureRemotesEnd(t *testing.T) {
	polite, config := secureBackend(t, func(c *websocket.Conn) {
		_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4123, "bye"))
		_, _, _ = c.ReadMessage()
	})
	rude, _ := secureBackend(t, func(c *websocket.Conn) {
		_ = tcp(c.NetConn()).Close()
	})
	s := startServer(t, true, func(s *Server) { s.TLS = config })
	p := s.connectPeer(t)
	require.Equal(t, "bye", p.expectDisconnect(p.connect(polite), 4123))
	p.expectDisconnect(p.connect(rude), 1006)
}
