package wsplice

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/timetest"
)

// Guarantees for a sender that keeps to its window.

// TestSmallMessagesFillTheWindow sends a window of messages of one byte, and as many empty messages as a receiver must
// hold, to a remote that does not read yet.
func TestSmallMessagesFillTheWindow(t *testing.T) {
	const window = 1 << 20
	small := appendMasked(nil, finBit|byte(ws.OpBinary), 1, [4]byte{})
	small = append(small, 'x')
	empty := appendMasked(nil, finBit|byte(ws.OpBinary), 0, [4]byte{})
	all := append(bytes.Repeat(empty, window/4), bytes.Repeat(small, window)...)

	s := startServer(t, false, func(s *Server) { s.MaxMessage, s.WriteTimeout = 1000, time.Hour })
	p := connectPeer(t, s.url)
	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	remote := backend(t, func(c *websocket.Conn) {
		_ = tcp(c.NetConn()).SetReadBuffer(256 << 10)
		<-goOn
		got := make([]byte, len(all))
		if _, err := io.ReadFull(c.NetConn(), got); err != nil || !bytes.Equal(all, got) {
			t.Errorf("remote gets something else: %v", err)
		}
		_ = c.WriteMessage(websocket.TextMessage, []byte("all"))
		_, _, _ = c.ReadMessage()
	})
	p.command(fmt.Sprintf(`{"method":"connect","params":{"url":%q,"window":%d}}`, remote, window))
	_, _, answer := p.receive()
	require.Contains(t, answer, fmt.Sprintf(`"window":%d`, window))
	require.NoError(t, tcp(s.session(t).table.get(0).line.Conn).SetWriteBuffer(256<<10))
	_, err := p.NetConn().Write(toChannel0(all))
	require.NoError(t, err)
	p.command(`{}`) // It is answered after the server has read all messages before it.
	p.expectError(CodeUnknownMethod)
	release()
	// The remote's message may overtake acks, because another goroutine sends these.
	acked, answered := int64(0), false
	for acked <= window/2 || !answered {
		index, _, m := p.receive()
		if index == 0 {
			require.Equal(t, "all", m)
			answered = true
			continue
		}
		var said struct {
			Method string
			Params ackParams
		}
		decode(t, m, &said)
		require.Equal(t, methodAck, said.Method, m)
		acked += said.Params.Bytes
	}
}

// TestEmptyMessages has remotes send as many empty messages as a channel must hold, or one more, while the test does
// not read.
func TestEmptyMessages(t *testing.T) {
	const window, most = minWindow, minWindow / 4
	for _, tc := range []struct {
		name string
		many int
	}{{"as many as it must hold", most}, {"more", most + 1}} {
		t.Run(tc.name, func(t *testing.T) {
			_, url := testServer(t, nil)
			c := dialTest(t, url, &DialOptions{Window: window})
			said := make(chan error, 1)
			ch := connectTest(t, c, backend(t, func(c *websocket.Conn) {
				empty := appendHeader(nil, finBit|byte(ws.OpBinary), 0)
				_, _ = c.NetConn().Write(bytes.Repeat(empty, tc.many))
				_ = c.WriteMessage(websocket.TextMessage, make([]byte, window))
				_, _, err := c.ReadMessage()
				said <- err
			}))
			if tc.many > most {
				require.Eventually(t, func() bool { return ch.failure() != nil }, testTimeout, time.Millisecond)
				err := timetest.Receive(t, said)
				require.True(t, websocket.IsCloseError(err, websocket.ClosePolicyViolation), "%v", err)
			} else {
				require.Eventually(t, func() bool { return ch.held() == window }, testTimeout, time.Millisecond)
			}
			for range most {
				requireRead(t, "", ch)
			}
			_, err := read(ch)
			if tc.many > most {
				require.ErrorIs(t, err, errEmpty)
				return
			}
			require.NoError(t, err)
			require.NoError(t, ch.Close(1000, ""))
			timetest.Receive(t, said)
		})
	}
}

// toChannel0 adds the index 0 to small messages.
func toChannel0(frames []byte) []byte {
	var b []byte
	for len(frames) > 0 {
		var h header
		h.parse(frames)
		b = appendMasked(b, h.first, h.length+indexSize, h.mask)
		b = append(b, 0, 0)
		n := h.size + int(h.length)
		b = append(b, frames[h.size:n]...)
		frames = frames[n:]
	}
	return b
}
