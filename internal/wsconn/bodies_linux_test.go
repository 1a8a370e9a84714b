package wsconn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	testPrefix  = "prefix\n"
	testMinBody = 1000
	testMax     = 200 << 10
)

// message is what a test sends, and what the other end must get.
type message struct {
	name    string
	frame   []byte
	payload []byte // nil of a frame that is no message
	left    bool   // the body is left on the connection
}

// testFrame returns a frame with a payload that is masked with key.
func testFrame(first byte, payload []byte, key [4]byte) []byte {
	b := appendHeader(nil, len(payload))
	b[0] = first
	copy(b[len(b)-4:], key[:])
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// testMessages returns messages that leave their bodies, and many that are like them in all but one point.
func testMessages() []message {
	var zero [4]byte
	key := [4]byte{1, 2, 3, 4}
	whole := func(name string, first byte, payload []byte, key [4]byte, left bool) message {
		return message{name, testFrame(first, payload, key), payload, left}
	}
	body := func(n int) []byte {
		b := append([]byte(testPrefix), make([]byte, n)...)
		for i := range b[len(testPrefix):] {
			b[len(testPrefix)+i] = byte(rand.Uint32())
		}
		return b
	}
	half := body(5000)
	return []message{
		whole("small", 0x82, body(10), zero, false),
		whole("large", 0x82, body(5000), zero, true),
		whole("again", 0x82, body(5000), zero, true),
		whole("larger", 0x82, body(100_000), zero, true),
		whole("just large", 0x82, body(testMinBody), zero, true),
		whole("not quite large", 0x82, body(testMinBody-1), zero, false),
		whole("of 65535", 0x82, body(65535-len(testPrefix)), zero, true),
		whole("of 65536", 0x82, body(65536-len(testPrefix)), zero, true),
		whole("the largest", 0x82, body(testMax-len(testPrefix)), zero, true),
		whole("masked", 0x82, body(5000), key, false),
		whole("text", 0x81, body(5000), zero, false),
		whole("of another kind", 0x82, bytes.Repeat([]byte("other\n"), 1000), zero, false),
		{name: "ping", frame: testFrame(0x89, []byte("hello"), key)},
		whole("empty", 0x82, []byte{}, zero, false),
		whole("prefix alone", 0x82, []byte(testPrefix), zero, false),
		{"a beginning", testFrame(0x02, half, zero), half, false},
		{name: "an end", frame: testFrame(0x80, nil, key)},
		whole("large in the end", 0x82, body(7000), zero, true),
	}
}

// served accepts one connection over a network and runs do with it. It returns the client's end. The client sends first right behind
// its request.
func served(t *testing.T, network string, do func(*CoderConn), first ...byte) net.Conn {
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "socket")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	done := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		conn, err := Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetReadLimit(testMax)
		conn.SetMinBody(testMinBody)
		do(conn)
		_ = conn.CloseNow()
	}))
	require.NoError(t, server.Listener.Close())
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	conn, err := net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: host\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s", first)
	require.NoError(t, err)
	answer := make([]byte, 1)
	for end := []byte{}; !bytes.HasSuffix(end, []byte("\r\n\r\n")); end = append(end, answer...) {
		_, err = conn.Read(answer)
		require.NoError(t, err)
	}
	return conn
}

// taken returns the rest of a message whose prefix was read: left says that it was left on the connection.
func taken(n *CoderConn, r io.Reader, take func(*Body) ([]byte, error)) (rest []byte, left bool, err error) {
	body := n.Body()
	if body == nil {
		rest, err = io.ReadAll(r)
		return rest, false, err
	}
	rest, err = take(body)
	return rest, true, err
}

func readBody(b *Body) ([]byte, error) { return io.ReadAll(b) }

// moveBody moves a body through a pipe. The pipe is read when it is full.
func moveBody(t *testing.T) func(*Body) ([]byte, error) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	pipe, err := w.SyscallConn()
	require.NoError(t, err)
	buf := make([]byte, 1<<20)
	return func(b *Body) (got []byte, err error) {
		for {
			n, err := b.MoveTo(pipe)
			if err != nil && err != io.EOF {
				return got, err
			}
			for n > 0 {
				m, err := r.Read(buf[:n])
				if err != nil {
					return got, err
				}
				got, n = append(got, buf[:m]...), n-m
			}
			if err == io.EOF {
				return got, nil
			}
		}
	}
}

// TestBodies sends messages in pieces of many sizes. All must come as they were sent, in whatever way their bodies are taken.
func TestBodies(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, way := range []string{"read", "moved"} {
			for _, piece := range []int{1, 7, 31, 500, 4096, 1 << 20} {
				if piece < 31 && network == "unix" {
					continue // Each piece costs a system call.
				}
				t.Run(fmt.Sprintf("%s, %s, pieces of %d", network, way, piece), func(t *testing.T) {
					take := readBody
					if way == "moved" {
						take = moveBody(t)
					}
					testBodies(t, network, piece, take)
				})
			}
		}
	}
}

func testBodies(t *testing.T, network string, piece int, take func(*Body) ([]byte, error)) {
	messages := testMessages()
	if piece < 31 {
		messages = messages[:3]
	}
	results := make(chan error, 1)
	conn := served(t, network, func(n *CoderConn) { results <- receiveBodies(n, messages, take) })
	go func() { _, _ = io.Copy(io.Discard, conn) }() // Ends with the connection.
	var all []byte
	for _, m := range messages {
		all = append(all, m.frame...)
	}
	for len(all) > 0 {
		n, err := conn.Write(all[:min(piece, len(all))])
		require.NoError(t, err)
		all = all[n:]
	}
	require.NoError(t, <-results)
}

func receiveBodies(n *CoderConn, messages []message, take func(*Body) ([]byte, error)) error {
	n.LeaveBodies(testPrefix, testMax)
	for _, m := range messages {
		if m.payload == nil {
			continue
		}
		r, err := n.Reader(context.Background())
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		start := make([]byte, min(len(testPrefix), len(m.payload)))
		if _, err := io.ReadFull(r, start); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		rest, left, err := taken(n, r, take)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", m.name, err)
		case left != m.left:
			return fmt.Errorf("%s: left is %t", m.name, left)
		case !bytes.Equal(m.payload, append(start, rest...)):
			return fmt.Errorf("%s: got %d other bytes", m.name, len(rest))
		}
	}
	return nil
}

// TestQuickClient sends messages right behind the request, so that the http.Server reads their first bytes.
func TestQuickClient(t *testing.T) {
	var first []byte
	messages := testMessages()
	for _, m := range messages {
		first = append(first, m.frame...)
	}
	results := make(chan error, 1)
	conn := served(t, "tcp", func(n *CoderConn) { results <- receiveBodies(n, messages, moveBody(t)) }, first...)
	go func() { _, _ = io.Copy(io.Discard, conn) }() // Ends with the connection.
	require.NoError(t, <-results)
}

// firstBody reads the prefix of the first message, and returns the body that it has left. If there is none, it is an empty one.
func firstBody(t *testing.T, n *CoderConn) *Body {
	n.LeaveBodies(testPrefix, testMax)
	r, err := n.Reader(context.Background())
	if err == nil {
		_, err = io.ReadFull(r, make([]byte, len(testPrefix)))
	}
	body := n.Body()
	if err != nil || body == nil {
		t.Error("no body was left: ", err)
		return new(Body)
	}
	return body
}

// TestBodyFillsThePipe moves a body to a pipe that nobody reads. That must not wait.
func TestBodyFillsThePipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	_, err = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(int(w.Fd()), true)) // Fd has made it wait.
	pipe, err := w.SyscallConn()
	require.NoError(t, err)
	payload := append([]byte(testPrefix), bytes.Repeat([]byte("x"), 150_000)...)
	got := make(chan []byte, 1)
	conn := served(t, "tcp", func(n *CoderConn) {
		body := firstBody(t, n)
		for moved := 1; moved > 0; {
			moved, _ = body.MoveTo(pipe)
		}
		rest, _ := io.ReadAll(body)
		got <- rest
	})
	_, err = conn.Write(testFrame(0x82, payload, [4]byte{}))
	require.NoError(t, err)
	rest := <-got
	require.NotEmpty(t, rest)
	inPipe := make([]byte, len(payload)-len(testPrefix)-len(rest))
	_, err = io.ReadFull(r, inPipe)
	require.NoError(t, err)
	require.Equal(t, string(payload[len(testPrefix):]), string(inPipe)+string(rest))
}

// TestBodyOfBrokenPipe moves a body to a pipe without a reader. The bytes must still be there to be read.
func TestBodyOfBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	require.NoError(t, r.Close())
	pipe, err := w.SyscallConn()
	require.NoError(t, err)
	payload := append([]byte(testPrefix), bytes.Repeat([]byte("x"), 5000)...)
	got := make(chan int, 2)
	conn := served(t, "tcp", func(n *CoderConn) {
		body := firstBody(t, n)
		moved, _ := body.MoveTo(pipe)
		rest, _ := io.ReadAll(body)
		got <- moved
		got <- len(rest)
	})
	_, err = conn.Write(testFrame(0x82, payload, [4]byte{}))
	require.NoError(t, err)
	require.Zero(t, <-got)
	require.Equal(t, 5000, <-got)
}

// TestCutBody ends the connection within a body. That must not look like the body's end.
func TestCutBody(t *testing.T) {
	for way, take := range map[string]func(*Body) error{"read": readAll, "moved": moveUntilStuck} {
		t.Run(way, func(t *testing.T) {
			ends := make(chan error, 1)
			conn := served(t, "tcp", func(n *CoderConn) {
				n.LeaveBodies(testPrefix, testMax)
				r, err := n.Reader(context.Background())
				if err == nil {
					_, _ = io.ReadFull(r, make([]byte, len(testPrefix)))
					err = take(n.Body())
				}
				ends <- err
			})
			frame := testFrame(0x82, append([]byte(testPrefix), make([]byte, 5000)...), [4]byte{})
			_, err := conn.Write(frame[:3000])
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			require.ErrorIs(t, <-ends, errEnded)
		})
	}
}

func readAll(b *Body) error {
	_, err := readBody(b)
	return err
}

// moveUntilStuck moves a body to a pipe until nothing can be moved, and then reads.
func moveUntilStuck(b *Body) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	pipe, err := w.SyscallConn()
	if err != nil {
		return err
	}
	for moved := 1; moved > 0; {
		if moved, err = b.MoveTo(pipe); err != nil {
			return err
		}
	}
	return readAll(b)
}

// TestCloseDropsBody closes a connection whose body was not taken. The close must find the peer's close frame behind it.
func TestCloseDropsBody(t *testing.T) {
	took := make(chan time.Duration, 1)
	bodyErr := make(chan error, 1)
	conn := served(t, "tcp", func(n *CoderConn) {
		body := firstBody(t, n)
		began := time.Now()
		_ = n.Close(1000, "")
		took <- time.Since(began)
		_, err := body.Read(make([]byte, 1))
		bodyErr <- err
	})
	frame := testFrame(0x82, append([]byte(testPrefix), make([]byte, 5000)...), [4]byte{})
	frame = append(frame, testFrame(0x88, []byte{3, 232}, [4]byte{})...)
	_, err := conn.Write(frame)
	require.NoError(t, err)
	require.Less(t, <-took, 4*time.Second, "the library waits 5 s for a close frame")
	require.ErrorIs(t, <-bodyErr, errEnded)
}

// TestLeavesBodies says which connections leave bodies.
func TestLeavesBodies(t *testing.T) {
	leaves := make(chan bool, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := Accept(w, r, nil)
		if err == nil {
			leaves <- conn.LeavesBodies()
			_ = conn.CloseNow()
		}
	})
	for _, encrypted := range []bool{false, true} {
		server := httptest.NewUnstartedServer(handler)
		if encrypted {
			server.StartTLS()
		} else {
			server.Start()
		}
		conn, err := Dial(t.Context(), server.URL, nil, nil, server.Client())
		require.NoError(t, err)
		require.Equal(t, !encrypted, <-leaves)
		require.False(t, conn.LeavesBodies())
		_ = conn.CloseNow()
		server.Close()
	}
	require.False(t, Coder(new(websocket.Conn)).LeavesBodies())
}

// TestMovingDoesNotAllocate moves bodies.
func TestMovingDoesNotAllocate(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	pipe, err := w.SyscallConn()
	require.NoError(t, err)
	ends := socketPair(t)
	b := &Body{conn: ends[0]}
	bytes, buf := make([]byte, 4096), make([]byte, 4096)
	allocs := testing.AllocsPerRun(100, func() {
		b.rest = len(bytes)
		if _, err := ends[1].Write(bytes); err != nil {
			t.Error(err)
		}
		if n, err := b.MoveTo(pipe); n != len(bytes) || err != nil {
			t.Error(n, err)
		}
		if _, err := io.ReadFull(r, buf); err != nil {
			t.Error(err)
		}
	})
	require.Zero(t, allocs)
}

// TestLeavingDoesNotAllocate takes messages without their bodies.
func TestLeavingDoesNotAllocate(t *testing.T) {
	ends := socketPair(t)
	b := &bodies{conn: ends[0]}
	b.left.Store(&leaving{testPrefix, testMinBody, testMax})
	frame := testFrame(0x82, append([]byte(testPrefix), make([]byte, 2000)...), [4]byte{})
	buf := make([]byte, 4096)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := ends[1].Write(frame); err != nil {
			t.Error(err)
		}
		if _, err := b.Read(buf); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull((*Body)(b), buf[:2000]); err != nil {
			t.Error(err)
		}
	})
	require.Zero(t, allocs)
}

// socketPair returns both ends of a connection.
func socketPair(t *testing.T) (ends [2]net.Conn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		ends[i], err = net.FileConn(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		t.Cleanup(func() { _ = ends[i].Close() })
	}
	return ends
}
