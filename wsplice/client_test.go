package wsplice

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/timetest"
)

func TestClientAndServer(t *testing.T) {
	_, url := testServer(t, nil)
	c := dialTest(t, url, nil)
	remote := backend(t, echo)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ch, err := c.Connect(t.Context(), remote, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 300 {
				message := fmt.Sprintf("%d.%d:%0*d", i, j, j*j*i%100_000, 0)
				if err := ch.Write(t.Context(), []byte(message)); err != nil {
					t.Error(err)
					return
				}
				got, err := read(ch)
				if err != nil || got != message {
					t.Errorf("%d bytes for %d, error %v", len(got), len(message), err)
					return
				}
			}
			if err := ch.Close(1000, "done"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestCanceledConnect cancels a call before the answer comes. The client works on, and can be closed.
func TestCanceledConnect(t *testing.T) {
	_, url := testServer(t, nil)
	c := dialTest(t, url, nil)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // It never answers a handshake.
	require.NoError(t, err)
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err = c.Connect(ctx, "ws://"+silent.Addr().String(), nil)
	require.ErrorIs(t, err, context.Canceled)

	ch := connectTest(t, c, backend(t, echo))
	require.NoError(t, ch.Write(t.Context(), []byte("still here")))
	requireRead(t, "still here", ch)
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(testTimeout):
		require.Fail(t, "the client does not end")
	}
}

// TestConnectCanceledAsAnswered cancels a call when its answer has come. The caller gets the channel, because only the
// caller can close it. Chance decides whether the call sees the answer or the end of the context first.
func TestConnectCanceledAsAnswered(t *testing.T) {
	_, url := testServer(t, nil)
	c := dialTest(t, url, nil)
	remote := backend(t, echo)
	for range 20 {
		ch, err := c.Connect(answeredContext{t.Context(), t, c}, remote, nil)
		require.NoError(t, err)
		require.NoError(t, ch.CloseNow())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.channels)
}

// TestLostServer checks that a channel's error tells how the client's connection ended.
func TestLostServer(t *testing.T) {
	s, url := testServer(t, nil)
	c := dialTest(t, url, nil)
	ch := connectTest(t, c, backend(t, echo))
	require.NoError(t, s.Shutdown(t.Context()))
	_, err := read(ch)
	require.ErrorContains(t, err, "connection lost: ")
	require.NotContains(t, err.Error(), "%!")
	var closed interface{ CloseStatus() (int, string) }
	require.ErrorAs(t, err, &closed)
	code, _ := closed.CloseStatus()
	require.Equal(t, int(ws.StatusGoingAway), code)
}

// TestWindow writes more than a window both ways while neither end reads. Another channel works on meanwhile.
func TestWindow(t *testing.T) {
	// On a busy machine the remote waits longer than the default write timeout.
	_, url := testServer(t, func(s *Server) { s.WriteTimeout = time.Minute })
	c := dialTest(t, url, &DialOptions{Window: 100_000})
	const total, size = 20 << 20, 20 << 10
	goOn := make(chan struct{})
	silent := connectTest(t, c, backend(t, func(c *websocket.Conn) {
		written := make(chan struct{})
		go func() {
			defer close(written)
			for range total / size {
				_ = c.WriteMessage(websocket.BinaryMessage, make([]byte, size))
			}
		}()
		<-goOn
		for got := 0; got < total; {
			_, p, err := c.ReadMessage()
			if err != nil {
				t.Error(err)
				return
			}
			got += len(p)
		}
		<-written
		_ = c.WriteMessage(websocket.TextMessage, []byte("all"))
		echo(c)
	}))
	lively := connectTest(t, c, backend(t, echo))
	written := make(chan error, 1)
	go func() {
		for range total / size {
			if err := silent.Write(t.Context(), make([]byte, size)); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for range 1000 {
		require.NoError(t, lively.Write(t.Context(), []byte("ping")))
		requireRead(t, "ping", lively)
	}
	select {
	case <-written:
		t.Fatal("more is written than the window and the buffers between can hold")
	case <-time.After(100 * time.Millisecond):
	}
	require.LessOrEqual(t, silent.held(), silent.window)
	close(goOn)
	received := 0
	for received < total {
		got, err := read(silent)
		require.NoError(t, err)
		received += len(got)
	}
	requireRead(t, "all", silent)
	require.NoError(t, timetest.Receive(t, written))
}

// answeredContext ends when all calls of its client have been answered.
type answeredContext struct {
	context.Context
	t      *testing.T
	client *Client
}

func (c answeredContext) Done() <-chan struct{} {
	require.Eventually(c.t, func() bool {
		c.client.mu.Lock()
		defer c.client.mu.Unlock()
		return len(c.client.calls) == 0
	}, testTimeout, time.Millisecond)
	ended := make(chan struct{})
	close(ended)
	return ended
}

func (answeredContext) Err() error { return context.Canceled }
