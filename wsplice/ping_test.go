package wsplice

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/timetest"
)

// The cost of pings from an end that reads nothing.

const (
	// floodPings is how many pings a flood has. A queue of all their pongs would take more than 30 MB.
	floodPings = 1 << 18
	// floodMemory is how many bytes of memory a flood may take: the buffers of a connection.
	floodMemory = 4 << 20
)

// TestPingsOfAClient has a client that sends pings and reads none of their pongs.
func TestPingsOfAClient(t *testing.T) {
	s := startServer(t, false, func(s *Server) { s.WriteTimeout = time.Minute })
	reached := make(chan struct{})
	remote := backend(t, func(*websocket.Conn) { close(reached) })
	p := s.connectRaw(t)
	p.connect(backend(t, echo)) // After this the server has a session. It does not after the handshake's answer.
	require.NoError(t, tcp(p.Conn).SetReadBuffer(4<<10))
	require.NoError(t, tcp(s.session(t).line.Conn).SetWriteBuffer(4<<10))
	before := inUse()
	require.NoError(t, flood(p, true))
	call := encodeCall(1, methodConnect, connectParams{URL: remote})
	_, err := p.Write(appendFrame(nil, ws.OpBinary, true, controlPrefix, call))
	require.NoError(t, err)
	timetest.Receive(t, reached) // The server has read all pings before.
	require.Less(t, growth(before), int64(floodMemory))
}

// TestPingsOfAServer has a server that sends pings and reads none of their pongs.
func TestPingsOfAServer(t *testing.T) {
	stop := make(chan struct{})
	url := backend(t, func(c *websocket.Conn) {
		_ = tcp(c.NetConn()).SetReadBuffer(4 << 10)
		if _, _, err := c.ReadMessage(); err != nil { // This is a call. Its answer comes behind the pings.
			t.Error(err)
		}
		if err := flood(c.NetConn(), false); err != nil {
			t.Error(err)
		}
		reply := encodeError(1, &Error{Code: CodeDialError})
		_ = c.WriteMessage(websocket.BinaryMessage, append(bytes.Clone(controlPrefix), reply...))
		<-stop
	})
	defer close(stop)
	before := inUse()
	c, err := Dial(t.Context(), url, nil)
	require.NoError(t, err)
	defer c.end(ErrClosed)
	require.NoError(t, tcp(c.line.Conn).SetWriteBuffer(4<<10))
	_, err = c.Connect(t.Context(), "ws://any", nil)
	var said *Error
	require.ErrorAs(t, err, &said)
	require.Less(t, growth(before), int64(floodMemory))
}

// TestNewestPongWaitsForARemote has a remote that sends pings and does not read.
func TestNewestPongWaitsForARemote(t *testing.T) {
	var wg sync.WaitGroup
	o, far := blockedOutlet(t, &wg)
	for i := range 1000 {
		o.pong([]byte{byte(i >> 8), byte(i)})
	}
	pongSize := len(appendFrame(nil, ws.OpPong, true, []byte{0, 0}))
	o.mu.Lock()
	require.LessOrEqual(t, o.queue.size, pongSize)
	o.mu.Unlock()
	requirePong(t, far, 0)
	requirePong(t, far, 999)
	wg.Wait()
	// No pong is sent within a frame, nor after the close frame.
	begun := appendMasked(nil, finBit|byte(ws.OpBinary), 2, [4]byte{})
	require.True(t, o.send([][]byte{append(begun, 'a')}, 1, true, maxQueue))
	o.pong([]byte{0, 7})
	require.True(t, o.send([][]byte{{'b'}}, 1, false, maxQueue))
	f, err := ws.ReadFrame(far)
	require.NoError(t, err)
	require.Equal(t, "ab", string(f.Payload))
	requirePong(t, far, 7)
	wg.Wait()
	require.True(t, o.close(closing{code: ws.StatusNormalClosure}))
	o.pong([]byte{0, 8})
	f, err = ws.ReadFrame(far)
	require.NoError(t, err)
	require.Equal(t, ws.OpClose, f.Header.OpCode)
	wg.Wait()
	require.Zero(t, o.queue.size)
}

// TestAnswersCountWithTheirCost queues answers for an end that takes nothing.
func TestAnswersCountWithTheirCost(t *testing.T) {
	near, far := net.Pipe()
	var wg sync.WaitGroup
	failed := make(chan error, 1<<20)
	o := &sharedOut{line: newLine(near), timeout: testTimeout, failed: func(err error) { failed <- err }, wg: &wg}
	before := inUse()
	sent := 0
	for ; len(failed) == 0 && sent < 2*maxWaiting/queuedCost; sent++ {
		o.enqueue(queued{frame: appendFrame(nil, ws.OpText, false)})
	}
	require.ErrorIs(t, timetest.Receive(t, failed), errPeerDeaf)
	require.LessOrEqual(t, growth(before), int64(maxWaiting+floodMemory))
	t.Logf("%d answers", sent)
	require.NoError(t, far.Close())
	wg.Wait()
	_ = near.Close()
}

// TestPongPassesTheQueue: a ping is answered before frames that wait.
func TestPongPassesTheQueue(t *testing.T) {
	o := &sharedOut{}
	o.queue.list = []queued{{frame: []byte("answer")}}
	o.queue.pong = []byte("pong")
	var sent []string
	for _, q := range o.nextQueued(nil) {
		sent = append(sent, string(q.frame))
	}
	require.Equal(t, []string{"pong", "answer"}, sent)
}

// TestNewestPongAnswersAllPings has a server that answers only the last of several pings.
func TestNewestPongAnswersAllPings(t *testing.T) {
	const pings = 5
	url := backend(t, func(c *websocket.Conn) {
		got := 0
		c.SetPingHandler(func(payload string) error {
			if got++; got < pings {
				return nil
			}
			_ = c.WriteControl(websocket.PongMessage, bytes.Repeat([]byte{0xff}, 8), time.Time{}) // It answers no ping.
			newest := binary.BigEndian.AppendUint64(nil, pings)
			return c.WriteControl(websocket.PongMessage, newest, time.Now().Add(testTimeout))
		})
		_, _, _ = c.ReadMessage()
	})
	c := dialTest(t, url, nil)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	errs := make(chan error, pings)
	for range pings {
		go func() { errs <- c.ping(ctx) }()
	}
	for range pings {
		require.NoError(t, timetest.Receive(t, errs))
	}
}

// flood sends pings, and returns when the system has taken them.
func flood(conn net.Conn, masked bool) error {
	const chunk = 1 << 12
	pings := bytes.Repeat(appendFrame(nil, ws.OpPing, masked), chunk)
	for range floodPings / chunk {
		if _, err := conn.Write(pings); err != nil {
			return err
		}
	}
	return nil
}

// growth returns by how many bytes the memory in use is larger than before.
func growth(before uint64) int64 { return int64(inUse()) - int64(before) }

// blockedOutlet returns an outlet, and its other end for the test to read.
func blockedOutlet(t *testing.T, wg *sync.WaitGroup) (o *outlet, far net.Conn) {
	near, far := net.Pipe()
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return &outlet{
		line: newLine(near), timeout: testTimeout, failed: func(err error) { t.Error(err) }, wg: wg,
		moved: make(chan struct{}, 1), urgent: new(atomic.Pointer[[]byte]),
	}, far
}

func requirePong(t *testing.T, from io.Reader, number int) {
	t.Helper()
	f, err := ws.ReadFrame(from)
	require.NoError(t, err)
	require.Equal(t, ws.OpPong, f.Header.OpCode)
	require.EqualValues(t, number, binary.BigEndian.Uint16(ws.UnmaskFrame(f).Payload))
}
