package wsplice

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/timetest"
)

// The Go client with a server of version 0.1.0, which knows no windows.

const (
	askFlood = "flood" // send many messages
	askEmpty = "empty" // send many empty messages
	askClose = "close" // close the connection
	// A flood has floodSize messages of floodMessage bytes.
	floodSize, floodMessage = 100, 10_000
)

func TestClientWithoutWindows(t *testing.T) {
	s, url := startLegacy(t)
	c := dialTest(t, url, nil)
	first, second := connectTest(t, c, "ws://any"), connectTest(t, c, "ws://any")
	for i, ch := range []*Channel{first, second} {
		for _, n := range []int{0, 1, 1 << 16, 4 << 20} {
			message := strings.Repeat(fmt.Sprint(i), n)
			require.NoError(t, ch.Write(t.Context(), []byte(message)))
			got, err := read(ch)
			require.NoError(t, err)
			require.True(t, message == got, "%d bytes of %d", len(got), n)
		}
	}
	require.NoError(t, first.Close(4001, "enough"))
	said := timetest.Receive(t, s.terminated)
	require.EqualValues(t, 0, *said.Index)
	require.EqualValues(t, 4001, *said.Code)
	require.Equal(t, "enough", said.Reason)

	// When the remote closes a connection, its index is free and is used again.
	require.NoError(t, second.Write(t.Context(), []byte(askClose)))
	_, err := read(second)
	var closed interface{ CloseStatus() (int, string) }
	require.ErrorAs(t, err, &closed)
	code, reason := closed.CloseStatus()
	require.Equal(t, 4123, code)
	require.Equal(t, "bye", reason)
	require.Error(t, second.Write(t.Context(), []byte("to nobody")))
	for want := range 2 {
		ch := connectTest(t, c, "ws://any")
		require.EqualValues(t, want, ch.index)
		require.NoError(t, ch.Write(t.Context(), []byte("again")))
		requireRead(t, "again", ch)
	}
	require.Empty(t, s.terminated)
}

// TestFullChannelWithoutWindow sends a channel more than it may hold, while the test does not read.
func TestFullChannelWithoutWindow(t *testing.T) {
	const window = 50_000
	_, flooded, other := overfill(t, window, askFlood)
	require.Eventually(t, func() bool { return flooded.held() >= window }, testTimeout, time.Millisecond)
	for range floodSize {
		got, err := read(flooded)
		require.NoError(t, err)
		require.Len(t, got, floodMessage)
		require.Less(t, flooded.held(), int64(window+floodMessage))
	}
	requireRead(t, "behind", other)
}

// TestEmptyMessagesWithoutWindow sends a channel more empty messages than it may hold, while the test does not read.
func TestEmptyMessagesWithoutWindow(t *testing.T) {
	const window = 40
	_, flooded, other := overfill(t, window, askEmpty)
	require.Eventually(t, func() bool { return flooded.heldMessages() >= window/4 }, testTimeout, time.Millisecond)
	for range floodSize {
		requireRead(t, "", flooded)
		require.LessOrEqual(t, flooded.heldMessages(), window/4)
	}
	requireRead(t, "behind", other)
}

// TestFullChannelDoesNotHoldUpItsEnd closes a full channel, or its client, while the test does not read.
func TestFullChannelDoesNotHoldUpItsEnd(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(c *Client, full, other *Channel) error
	}{
		{"of a channel", func(_ *Client, full, other *Channel) error {
			_ = full.CloseNow()
			got, err := read(other)
			if err == nil && got != "behind" {
				t.Errorf("got %q", got)
			}
			return err
		}},
		{"of a channel in good form", func(_ *Client, full, _ *Channel) error { return full.Close(1000, "") }},
		{"of the client", func(c *Client, _, _ *Channel) error { return c.Close() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, full, other := overfill(t, 1, askFlood)
			require.Eventually(t, func() bool { return full.held() > 0 }, testTimeout, time.Millisecond)
			elapsed := stopwatch(t)
			require.NoError(t, tc.end(c, full, other))
			require.Less(t, elapsed(), soon)
		})
	}
}

// legacyServer answers one client as version 0.1.0 does. Its connections echo messages, and carry out those that are an
// order.
type legacyServer struct {
	t          *testing.T
	conn       *websocket.Conn
	taken      map[int]bool         // the indexes in use
	terminated chan terminateParams // the client's calls of terminate
}

func startLegacy(t *testing.T) (s *legacyServer, url string) {
	s = &legacyServer{t: t, taken: map[int]bool{}, terminated: make(chan terminateParams, 10)}
	server := httptest.NewServer(serveWebSocket(s.serve))
	t.Cleanup(server.Close)
	return s, toWS(server.URL)
}

func (s *legacyServer) serve(c *websocket.Conn) {
	s.conn = c
	for {
		kind, p, err := c.ReadMessage()
		if err != nil {
			return
		}
		index, rest := int(binary.BigEndian.Uint16(p)), p[indexSize:]
		switch {
		case index == controlIndex:
			s.command(rest)
		case !s.taken[index]:
			s.t.Errorf("message for connection %d, which there is not", index)
		case string(rest) == askFlood:
			for range floodSize {
				s.send(index, make([]byte, floodMessage))
			}
		case string(rest) == askEmpty:
			for range floodSize {
				s.send(index, nil)
			}
		case string(rest) == askClose:
			delete(s.taken, index)
			s.tell(`{"id":0,"type":"method","method":"onSocketClosed","params":{"index":%d,"code":4123,"reason":"bye"}}`, index)
		default:
			_ = c.WriteMessage(kind, p)
		}
	}
}

func (s *legacyServer) send(index int, p []byte) {
	_ = s.conn.WriteMessage(websocket.BinaryMessage, append(binary.BigEndian.AppendUint16(nil, uint16(index)), p...))
}

func (s *legacyServer) tell(format string, args ...any) {
	s.send(controlIndex, fmt.Appendf(nil, format, args...))
}

func (s *legacyServer) command(p []byte) {
	var c call
	if err := json.Unmarshal(p, &c); err != nil {
		s.t.Error(err)
	}
	switch c.Method {
	case methodConnect:
		index := 0
		for s.taken[index] {
			index++
		}
		s.taken[index] = true
		s.tell(`{"id":%d,"type":"reply","result":{"index":%d}}`, c.ID, index)
	case methodTerminate:
		var params terminateParams
		if err := json.Unmarshal(c.Params, &params); err != nil || !s.taken[int(*params.Index)] {
			s.t.Errorf("terminate %s: %v", c.Params, err)
		}
		delete(s.taken, int(*params.Index))
		s.terminated <- params
		s.tell(`{"id":%d,"type":"reply","result":{}}`, c.ID)
	default:
		s.t.Errorf("%s is unknown to the server", c.Method)
	}
}

// overfill sends a channel more than it may hold, and then a message to another channel of the same connection.
func overfill(t *testing.T, window int64, ask string) (c *Client, full, other *Channel) {
	t.Helper()
	_, url := startLegacy(t)
	c = dialTest(t, url, &DialOptions{Window: window})
	full, other = connectTest(t, c, "ws://any"), connectTest(t, c, "ws://any")
	require.NoError(t, full.Write(t.Context(), []byte(ask)))
	require.NoError(t, other.Write(t.Context(), []byte("behind")))
	return c, full, other
}

// heldMessages returns how many messages the channel holds.
func (ch *Channel) heldMessages() int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.messages.count
}
