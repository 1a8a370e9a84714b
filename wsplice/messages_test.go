package wsplice

import (
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestMessagesPass(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	remote := backend(t, echo)
	require.Equal(t, 0, p.connect(remote))
	require.Equal(t, 1, p.connect(remote))
	for _, n := range []int{0, 1, 2, 123, 124, 125, 126, 127, 3000, 65533, 65534, 65535, 65536, 1 << 20} {
		for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			for index := range 2 {
				message := strings.Repeat("x", n)
				p.send(index, kind, message)
				i, k, m := p.receive()
				require.Equal(t, index, i)
				require.Equal(t, kind, k)
				require.True(t, message == m, "%d bytes", n)
			}
		}
	}
}

// TestMessagesDoNotMix has many remotes send messages of many sizes, whole and fragmented, to one client at the same
// time. Each message begins with its checksum.
func TestMessagesDoNotMix(t *testing.T) {
	// On a busy machine the test reads slowly, because it computes all the checksums.
	_, url := testServer(t, func(s *Server) { s.WriteTimeout = time.Minute })
	p := connectPeer(t, url)
	const remotes, messages = 24, 150
	begin := make(chan struct{})
	for i := range remotes {
		index := p.connect(backend(t, func(c *websocket.Conn) {
			<-begin
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range messages {
				if err := sendChecked(c, random, byte(i)); err != nil {
					t.Error(err)
					return
				}
			}
			_, _, _ = c.ReadMessage()
		}))
		require.Equal(t, i, index)
	}
	close(begin)
	for range remotes * messages {
		index, _, m := p.receive()
		sum := sha256.Sum256([]byte(m[sha256.Size:]))
		require.Equal(t, string(sum[:]), m[:sha256.Size], "message of %d bytes from %d", len(m), index)
		require.EqualValues(t, index, m[sha256.Size])
	}
}

func TestPings(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	for _, payload := range []string{"", "ping", strings.Repeat("x", 125)} {
		got := make(chan string, 1)
		p.SetPongHandler(func(m string) error { got <- m; return nil })
		require.NoError(t, p.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(testTimeout)))
		p.command(`{}`)
		p.expectError(CodeUnknownMethod)
		select {
		case pong := <-got:
			require.Equal(t, payload, pong)
		default:
			require.Fail(t, "the ping was not answered before the command")
		}
	}
	index := p.connect(backend(t, func(c *websocket.Conn) {
		c.SetPongHandler(func(m string) error { return c.WriteMessage(websocket.TextMessage, []byte("pong "+m)) })
		_ = c.WriteControl(websocket.PingMessage, []byte("remote's"), time.Now().Add(testTimeout))
		_, _, _ = c.ReadMessage()
	}))
	p.expect(index, "pong remote's")
}

// sendChecked sends a message of a random size: its checksum, the sender's number, and random bytes.
func sendChecked(c *websocket.Conn, random *rand.Rand, sender byte) error {
	body := make([]byte, 1+random.IntN(1<<random.IntN(19)))
	for i := range body {
		body[i] = byte(random.Uint32())
	}
	body[0] = sender
	sum := sha256.Sum256(body)
	w, err := c.NextWriter(websocket.BinaryMessage)
	if err != nil {
		return err
	}
	// The library splits a message that does not fit into its buffer of 4 KiB.
	if _, err = w.Write(sum[:]); err == nil {
		_, err = w.Write(body)
	}
	if err != nil {
		return err
	}
	return w.Close()
}
