package wsplice

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/timetest"
)

// Ends that pause within a frame or a message.

const shortReadTimeout = 200 * time.Millisecond

// TestReadTimeoutOfClients has clients that are silent within a frame or a message, and one that is silent between
// messages.
func TestReadTimeoutOfClients(t *testing.T) {
	s := startServer(t, false, func(s *Server) { s.ReadTimeout = shortReadTimeout })
	quiet := connectPeer(t, s.url)
	index := quiet.connect(backend(t, echo))
	for name, begin := range beginnings(true) {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			p := s.connectRaw(t)
			p.connect(backend(t, func(c *websocket.Conn) {
				_, _, err := c.ReadMessage()
				ended <- err
			}))
			began := time.Now()
			_, err := p.Write(begin)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, p)
			require.NoError(t, err, "the connection is to be closed")
			require.GreaterOrEqual(t, time.Since(began), shortReadTimeout)
			require.Error(t, timetest.Receive(t, ended))
		})
	}
	quiet.send(index, websocket.TextMessage, "after a long silence")
	quiet.expect(index, "after a long silence")
}

// TestReadTimeoutOfRemotes has remotes that are silent within a frame or a message, and one that is silent between
// messages.
func TestReadTimeoutOfRemotes(t *testing.T) {
	s := startServer(t, false, func(s *Server) { s.ReadTimeout = shortReadTimeout })
	p := connectPeer(t, s.url)
	quiet := p.connect(backend(t, echo))
	for name, begin := range beginnings(false) {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			index := p.connect(backend(t, func(c *websocket.Conn) {
				_, _ = c.NetConn().Write(begin)
				_, _, _ = c.ReadMessage()
			}))
			p.expectDisconnect(index, 1006)
			require.GreaterOrEqual(t, time.Since(began), shortReadTimeout)
		})
	}
	p.send(quiet, websocket.TextMessage, "after a long silence")
	p.expect(quiet, "after a long silence")
}

// TestPongWaitsForTheFramesEnd has a remote send pings while half of a frame has reached it.
func TestPongWaitsForTheFramesEnd(t *testing.T) {
	message := appendMasked(nil, finBit|byte(ws.OpText), indexSize+10, [4]byte{})
	message = append(append(message, 0, 0), "beginfirst"...)
	cut := len(message) - len("first")
	next := appendFrame(nil, ws.OpText, true, []byte("\x00\x00next"))
	first, pong := ws.NewTextFrame([]byte("beginfirst")), ws.NewPongFrame([]byte("2"))
	for _, tc := range []struct {
		name string
		rest [][]byte // the pieces that are written afterwards
		want []ws.Frame
	}{
		{"nothing follows", [][]byte{message[cut:]}, []ws.Frame{first, pong}},
		{"in pieces", [][]byte{message[cut : cut+1], message[cut+1:]}, []ws.Frame{first, pong}},
		{"a message follows", [][]byte{append(bytes.Clone(message[cut:]), next...)},
			[]ws.Frame{first, pong, ws.NewTextFrame([]byte("next"))}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServer(t, false, nil)
			p := s.connectRaw(t)
			got := make(chan []ws.Frame, 1)
			p.connect(backend(t, func(c *websocket.Conn) {
				begin := make([]byte, cut-indexSize)
				_, _ = io.ReadFull(c.NetConn(), begin)
				for _, payload := range []string{"1", "2"} {
					_, _ = c.NetConn().Write(appendFrame(nil, ws.OpPing, false, []byte(payload)))
				}
				got <- readFrames(io.MultiReader(bytes.NewReader(begin), c.NetConn()), len(tc.want))
			}))
			_, err := p.Write(message[:cut])
			require.NoError(t, err)
			s.session(t).table.get(0).awaitHeldPong(t, '2')
			for _, piece := range tc.rest {
				_, err = p.Write(piece)
				require.NoError(t, err)
			}
			require.Equal(t, tc.want, timetest.Receive(t, got))
		})
	}
}

// beginnings are incomplete frames and messages. Those from a client are for connection 0.
func beginnings(fromClient bool) map[string][]byte {
	header := func(first byte, n int64) []byte {
		if fromClient {
			return append(appendMasked(nil, first, n+indexSize, [4]byte{}), 0, 0)
		}
		return appendHeader(nil, first, n)
	}
	return map[string][]byte{
		"within a header":  header(finBit|byte(ws.OpBinary), 10)[:1],
		"within a frame":   append(header(finBit|byte(ws.OpBinary), 10), "begin"...),
		"within a message": append(header(byte(ws.OpText), 5), "begin"...),
	}
}

// awaitHeldPong waits until the channel holds back a pong with the payload.
func (c *splice) awaitHeldPong(t *testing.T, payload byte) {
	t.Helper()
	require.Eventually(t, func() bool {
		pong := c.batch.urgent.Load()
		return pong != nil && (*pong)[len(*pong)-1]^(*pong)[len(*pong)-5] == payload
	}, testTimeout, time.Millisecond)
}

// readFrames reads up to n frames, and returns them without a mask.
func readFrames(r io.Reader, n int) (frames []ws.Frame) {
	for range n {
		f, err := ws.ReadFrame(r)
		if err != nil {
			break
		}
		f = ws.UnmaskFrame(f)
		f.Header.Mask = [4]byte{}
		frames = append(frames, f)
	}
	return frames
}
