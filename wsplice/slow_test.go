package wsplice

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// Slow remotes and slow clients must not delay others.

// TestSlowRemoteDelaysOthersBoundedly has a remote that reads slowly but steadily. A message for another remote comes
// behind more bytes than the slow one's queue takes.
func TestSlowRemoteDelaysOthersBoundedly(t *testing.T) {
	for _, tc := range []struct {
		name string
		rate int
		much int
		kept bool
	}{
		{"slower than allowed", minRate / 8, 2 << 20, false},
		{"faster than required", 16 * minRate, 12 << 20, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServer(t, false, nil)
			p := connectPeer(t, s.url)
			stop := make(chan struct{})
			defer close(stop)
			slow := p.connect(backend(t, func(c *websocket.Conn) { readSlowly(c, tc.rate, stop) }))
			lively := p.connect(backend(t, echo))
			channel := s.session(t).table.get(slow)
			require.NoError(t, tcp(channel.line.Conn).SetWriteBuffer(64<<10))
			const chunk = 64 << 10
			elapsed := stopwatch(t)
			for range (maxQueue + tc.much) / chunk {
				p.send(slow, websocket.BinaryMessage, strings.Repeat("x", chunk))
			}
			p.send(lively, websocket.TextMessage, "x")
			// The echo may come before the client learns that the slow remote was given up.
			for answered, told := false, tc.kept; !answered || !told; {
				index, _, m := p.receive()
				switch {
				case index == lively:
					require.Equal(t, "x", m)
					answered = true
				case !told:
					require.Contains(t, m, methodDisconnect)
					require.Contains(t, m, errSlow.Error())
					told = true
				default:
					require.Contains(t, m, "4004") // A message for the slow remote came after its end.
					require.False(t, tc.kept)
				}
			}
			if !tc.kept {
				require.Less(t, elapsed(), soon)
			}
		})
	}
}

// TestDelay checks how waits and bytes change the delay.
func TestDelay(t *testing.T) {
	var d delay
	d.add(maxDelay/2, 0)
	require.Equal(t, maxDelay/2, d.behind)
	d.add(maxDelay/2, 1)
	require.InDelta(t, maxDelay, d.behind, float64(time.Second/minRate))
	d.add(time.Second, 1+minRate)
	require.InDelta(t, maxDelay, d.behind, float64(time.Millisecond))
	// Bytes that were taken earlier do not count later.
	d.add(0, 100*minRate)
	require.Zero(t, d.behind)
	d.add(maxDelay, 100*minRate)
	require.Equal(t, maxDelay, d.behind)
}

// TestStalledRemoteDelaysNobody has a remote that reads nothing, and one that stalls within a frame.
func TestStalledRemoteDelaysNobody(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.WriteTimeout = time.Minute })
	p := connectPeer(t, url)
	stop := make(chan struct{})
	defer close(stop)
	deaf := p.connect(backend(t, func(*websocket.Conn) { <-stop }))
	halfway := p.connect(backend(t, func(c *websocket.Conn) {
		_, _ = c.NetConn().Write(append(appendHeader(nil, byte(ws.OpText), 10), "begin"...))
		<-stop
	}))
	lively := p.connect(backend(t, echo))
	chunk := strings.Repeat("x", 1<<20)
	closed := false
	elapsed := stopwatch(t)
	for i := range 40 {
		p.send(deaf, websocket.BinaryMessage, chunk)
		began := elapsed()
		p.send(lively, websocket.TextMessage, fmt.Sprint(i))
		index, _, m := p.receive()
		if index == controlIndex && !closed {
			require.Contains(t, m, errSlow.Error())
			closed = true
			index, _, m = p.receive()
		}
		for index == controlIndex { // These messages were sent before the client knew.
			require.True(t, closed)
			require.Contains(t, m, "4004")
			index, _, m = p.receive()
		}
		require.Equal(t, lively, index)
		require.Equal(t, fmt.Sprint(i), m)
		require.Less(t, elapsed()-began, 2*time.Second)
	}
	require.True(t, closed)
	p.command(fmt.Sprintf(`{"id":1,"method":"terminate","params":{"index":%d}}`, halfway))
	p.expectControl(`{"id":1,"type":"reply","result":{}}`)
}

// TestWriteTimeout has a remote that takes some bytes, and then none for the write timeout.
func TestWriteTimeout(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.WriteTimeout = maxDelay / 10 })
	p := connectPeer(t, url)
	stop := make(chan struct{})
	defer close(stop)
	deaf := p.connect(backend(t, func(*websocket.Conn) { <-stop }))
	// This is more than the system's buffers and the queue take.
	for range 40 {
		p.send(deaf, websocket.BinaryMessage, strings.Repeat("x", 1<<20))
	}
	require.Equal(t, errWriteTimeout.Error(), p.expectDisconnect(deaf, 1008))
}

// TestStalledClientIsClosed has a client that does not read, while another does.
func TestStalledClientIsClosed(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := startServer(t, secure, func(s *Server) { s.WriteTimeout = 300 * time.Millisecond })
		failed := make(chan error, 1)
		source := backend(t, func(c *websocket.Conn) {
			for {
				if err := c.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<16)); err != nil {
					failed <- err
					return
				}
			}
		})
		stalled, other := s.connectPeer(t), s.connectPeer(t)
		stalled.command(fmt.Sprintf(`{"method":"connect","params":{"url":%q}}`, source))
		index := other.connect(backend(t, echo))
		for closed := false; !closed; {
			other.send(index, websocket.TextMessage, "x")
			other.expect(index, "x")
			select {
			case <-failed:
				closed = true
			default:
			}
		}
	}
}
