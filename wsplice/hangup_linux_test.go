package wsplice

import (
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/timetest"
)

// A client closes its end while its bytes are not read.

// TestHangUpIsNoticedWhileTheRemoteIsFull closes a client's end while the session's reader waits for its only remote
// and some of its bytes are unread.
func TestHangUpIsNoticedWhileTheRemoteIsFull(t *testing.T) {
	hangUp := func(p *rawPeer) { _ = p.Close() }
	reset := func(p *rawPeer) {
		_ = p.Conn.(*net.TCPConn).SetLinger(0)
		_ = p.Close()
	}
	stalled := func(c *websocket.Conn, stop <-chan struct{}) { <-stop }
	slow := func(c *websocket.Conn, stop <-chan struct{}) { readSlowly(c, 80<<10, stop) }
	for _, tc := range []struct {
		name   string
		secure bool
		remote func(*websocket.Conn, <-chan struct{})
		end    func(*rawPeer)
	}{
		{"FIN, stalled remote", false, stalled, hangUp},
		{"FIN, slow remote", false, slow, hangUp},
		{"RST, stalled remote", false, stalled, reset},
		{"RST, slow remote", false, slow, reset},
		{"TLS, stalled remote", true, stalled, hangUp},
		{"TLS, slow remote", true, slow, hangUp},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leaktest.Check(t)
			timetest.Within(t, time.Second, func() time.Duration {
				s, p, end := fullRemote(t, tc.secure, 128<<10, tc.remote)
				defer end()
				began := time.Now()
				tc.end(p)
				s.awaitNoClients(t)
				return time.Since(began)
			})
		})
	}
}

// TestCloseFrameBeforeHangUpIsPassedOn has a client send a close frame behind bytes that its only remote has not taken
// yet, and close its end at once.
func TestCloseFrameBeforeHangUpIsPassedOn(t *testing.T) {
	leaktest.Check(t)
	said := make(chan error, 1)
	s, p, end := fullRemote(t, false, 1, func(c *websocket.Conn, stop <-chan struct{}) {
		<-stop
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				said <- err
				return
			}
		}
	})
	channel := s.session(t).table.get(0)
	_, err := p.Write(appendFrame(nil, ws.OpClose, true, closing{4321, "my reason"}.payload()))
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.Eventually(t, channel.terminated.Load, testTimeout, time.Millisecond)
	require.NoError(t, tcp(channel.line.Conn).SetWriteBuffer(1<<20))
	end()
	require.Equal(t, &websocket.CloseError{Code: 4321, Text: "my reason"}, timetest.Receive(t, said))
	s.awaitNoClients(t)
}

// fullRemote returns a client whose session waits for its only remote, with some bytes unread. The remote runs until
// end is called.
func fullRemote(
	t *testing.T, secure bool, unread int, remote func(c *websocket.Conn, stop <-chan struct{}),
) (s *tested, p *rawPeer, end func()) {
	const chunk = 8 << 10
	stop := make(chan struct{})
	s = startServer(t, secure, func(s *Server) { s.WriteTimeout = time.Minute })
	p = s.connectRaw(t)
	p.connect(backend(t, func(c *websocket.Conn) {
		remote(c, stop)
	}))
	session := s.session(t)
	channel := session.table.get(0)
	require.NoError(t, tcp(channel.line.Conn).SetWriteBuffer(chunk))
	// The unread bytes fit into this buffer, so that the client's end arrives behind them.
	require.NoError(t, tcp(session.line.Conn).SetReadBuffer(1<<20))
	message := appendFrame(nil, ws.OpBinary, true, []byte{0, 0}, make([]byte, chunk))
	send := func() {
		_, err := p.Write(message)
		require.NoError(t, err)
	}
	for sent := int64(0); !channel.isFull(t, sent, chunk); sent += chunk {
		send()
	}
	for i := 0; i < unread; i += chunk {
		send()
	}
	return s, p, func() { close(stop) }
}

// isFull waits until the channel has got sent bytes or its queue has no room. It reports whether there is no room.
func (c *splice) isFull(t *testing.T, sent, room int64) (full bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		c.outlet.mu.Lock()
		defer c.outlet.mu.Unlock()
		full = int64(c.outlet.queue.size)+room > soleQueue
		return full || c.outlet.received == sent
	}, testTimeout, 100*time.Microsecond)
	return full
}

// awaitNoClients waits until no session is left.
func (s *tested) awaitNoClients(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.places == 0
	}, testTimeout, time.Millisecond)
}
