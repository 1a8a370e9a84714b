package wsplice

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
)

// TestMessagesDoNotMix has many remotes send messages of many sizes, whole and fragmented, to one client at the same
// time, and checks each by its own checksum.
func TestMessagesDoNotMix(t *testing.T) {
	_, url := testServer(t, nil)
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

// sendChecked sends a message of a random size that begins with its checksum, and then has a byte of the sender's.
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
	// The library makes frames of what does not fit into its buffer of 4 KiB.
	if _, err = w.Write(sum[:]); err == nil {
		_, err = w.Write(body)
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// TestStalledRemoteDelaysNobody has remotes that read nothing, and one that stalls within a frame.
func TestStalledRemoteDelaysNobody(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.WriteTimeout = time.Second })
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
	for i := range 40 {
		p.send(deaf, websocket.BinaryMessage, chunk)
		began := time.Now()
		p.send(lively, websocket.TextMessage, fmt.Sprint(i))
		index, _, m := p.receive()
		if index == controlIndex && !closed {
			require.Contains(t, m, errSlow.Error())
			closed = true
			index, _, m = p.receive()
		}
		for index == controlIndex { // What came before the client knew.
			require.True(t, closed)
			require.Contains(t, m, "4004")
			index, _, m = p.receive()
		}
		require.Equal(t, lively, index)
		require.Equal(t, fmt.Sprint(i), m)
		require.Less(t, time.Since(began), 2*time.Second)
	}
	require.True(t, closed)
	p.command(fmt.Sprintf(`{"id":1,"method":"terminate","params":{"index":%d}}`, halfway))
	p.expectControl(`{"id":1,"type":"reply","result":{}}`)
}

// TestWriteTimeout has a remote that takes something, but then nothing for the write timeout.
func TestWriteTimeout(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.WriteTimeout = patience / 10 })
	p := connectPeer(t, url)
	stop := make(chan struct{})
	defer close(stop)
	deaf := p.connect(backend(t, func(*websocket.Conn) { <-stop }))
	// More than the system's buffers and the queue take.
	for range 40 {
		p.send(deaf, websocket.BinaryMessage, strings.Repeat("x", 1<<20))
	}
	require.Equal(t, errWriteTimeout.Error(), p.expectDisconnect(deaf, 1008))
}

// TestStalledClientIsClosed has a client that does not read, while another does.
func TestStalledClientIsClosed(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.WriteTimeout = 300 * time.Millisecond })
	gone := make(chan error, 1)
	source := backend(t, func(c *websocket.Conn) {
		for {
			if err := c.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<16)); err != nil {
				gone <- err
				return
			}
		}
	})
	stalled, other := connectPeer(t, url), connectPeer(t, url)
	stalled.command(fmt.Sprintf(`{"method":"connect","params":{"url":%q}}`, source))
	index := other.connect(backend(t, echo))
	for {
		other.send(index, websocket.TextMessage, "x")
		other.expect(index, "x")
		select {
		case <-gone:
			return
		default:
		}
	}
}

// TestClientsEndReachesRemotes closes a client's connection in different ways.
func TestClientsEndReachesRemotes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		end    func(p *peer)
		code   int
		reason string
	}{
		{"with a code", func(p *peer) {
			_ = p.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "my reason"))
			p.expectClose(4321)
		}, 4321, "my reason"},
		{"without a code", func(p *peer) {
			_ = p.WriteMessage(websocket.CloseMessage, nil)
			p.expectClose(1005)
		}, 1005, ""},
		{"without a word", func(p *peer) { _ = p.NetConn().Close() }, 1001, "client is gone"},
		{"with a broken frame", func(p *peer) {
			_, _ = p.NetConn().Write(bytes.Repeat([]byte{0xff}, maxHeader))
			p.expectClose(1002)
		}, 1001, "client is gone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leaktest.Check(t)
			_, url := testServer(t, nil)
			ended := make(chan error, 3)
			remote := backend(t, func(c *websocket.Conn) {
				for {
					if _, _, err := c.ReadMessage(); err != nil {
						ended <- err
						return
					}
				}
			})
			p := connectPeer(t, url)
			for range 3 {
				p.connect(remote)
			}
			// One that never answers the close frame does not delay the others.
			p.connect(backend(t, func(c *websocket.Conn) { _, _ = io.Copy(io.Discard, c.NetConn()) }))
			began := time.Now()
			tc.end(p)
			for range 3 {
				err := <-ended
				ce, ok := err.(*websocket.CloseError)
				require.True(t, ok, "%v", err)
				require.Equal(t, tc.code, ce.Code)
				require.Equal(t, tc.reason, ce.Text)
			}
			require.Less(t, time.Since(began), time.Second)
		})
	}
}

// TestRemotesEndReachesClient closes remotes in different ways, and uses the freed index.
func TestRemotesEndReachesClient(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		_, url := testServer(t, func(s *Server) { s.LegacyCloseMethod = legacy })
		method := map[bool]string{false: "onSocketDisconnect", true: "onSocketClosed"}[legacy]
		p := connectPeer(t, url)
		keep := p.connect(backend(t, echo))
		for i, tc := range []struct {
			end    func(c *websocket.Conn)
			code   int
			reason string
		}{
			{func(c *websocket.Conn) {
				_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4123, "bye"))
			}, 4123, "bye"},
			{func(c *websocket.Conn) { _ = c.WriteMessage(websocket.CloseMessage, nil) }, 1005, ""},
			{func(c *websocket.Conn) { _ = c.NetConn().Close() }, 1006, ""},
		} {
			index := p.connect(backend(t, func(c *websocket.Conn) {
				_, _, _ = c.ReadMessage()
				_ = c.WriteMessage(websocket.TextMessage, []byte("last"))
				tc.end(c)
				_, _, _ = c.ReadMessage()
			}))
			require.Equal(t, 1, index, "case %d", i)
			p.send(index, websocket.TextMessage, "go")
			p.expect(index, "last")
			p.expectControl(fmt.Sprintf(`{"id":0,"type":"method","method":%q,"params":{"index":1,"code":%d,"reason":%q}}`,
				method, tc.code, tc.reason))
		}
		p.send(keep, websocket.TextMessage, "kept")
		p.expect(keep, "kept")
	}
}

func TestTerminate(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	said := make(chan error, 1)
	for range 3 {
		index := p.connect(backend(t, func(c *websocket.Conn) {
			_, m, _ := c.ReadMessage()
			if string(m) != "first" {
				t.Errorf("remote reads %q", m)
			}
			_, _, err := c.ReadMessage()
			said <- err
		}))
		require.Equal(t, 0, index)
		p.send(index, websocket.TextMessage, "first")
		p.command(`{"id":9,"type":"method","method":"terminate","params":{"index":0,"code":4001,"reason":"enough"}}`)
		p.expectControl(`{"id":9,"type":"reply","result":{}}`)
		require.Equal(t, &websocket.CloseError{Code: 4001, Text: "enough"}, <-said)
		p.send(index, websocket.TextMessage, "nobody there")
		p.expectError(CodeUnknownConnection)
	}
}

// TestEarlyBytes has a remote that sends a message together with its 101.
func TestEarlyBytes(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	for _, n := range []int{1, 300, 3000} {
		message := strings.Repeat("e", n)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			var answer bytes.Buffer
			fake := struct {
				io.Reader
				io.Writer
			}{requestReader(r), &answer}
			if _, err := ws.Upgrade(fake); err != nil {
				t.Error(err)
			}
			_, _ = conn.Write(appendFrame(answer.Bytes(), ws.OpText, false, []byte(message)))
			_, _ = rw.ReadByte()
		}))
		index := p.connect(toWS(server.URL))
		p.expect(index, message)
		p.command(fmt.Sprintf(`{"method":"terminate","params":{"index":%d}}`, index))
		p.expectControl(`{"id":0,"type":"reply","result":{}}`)
		server.Close()
	}
}

// requestReader returns the request as it came.
func requestReader(r *http.Request) io.Reader {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET / HTTP/1.1\r\nHost: %s\r\n", r.Host)
	_ = r.Header.Write(&b)
	b.WriteString("\r\n")
	return &b
}

func TestFailedDialsLeaveNothing(t *testing.T) {
	leaktest.Check(t)
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	for i, address := range []string{
		toWS(refusing.URL), "ws://" + closed.Addr().String(), "ws://" + silent.Addr().String(),
	} {
		for range 17 {
			p.command(fmt.Sprintf(`{"id":5,"method":"connect","params":{"url":%q,"timeout":50}}`, address))
			e := p.expectError(CodeDialError)
			require.Equal(t, "url", e.Path, "%d", i)
		}
	}
	require.Equal(t, 0, p.connect(backend(t, echo)))
}

func TestPings(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	for _, payload := range []string{"", "ping", strings.Repeat("x", 125)} {
		got := make(chan string, 1)
		p.SetPongHandler(func(m string) error { got <- m; return nil })
		require.NoError(t, p.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(time.Second)))
		p.command(`{}`)
		p.expectError(CodeUnknownMethod)
		require.Equal(t, payload, <-got)
	}
	index := p.connect(backend(t, func(c *websocket.Conn) {
		c.SetPongHandler(func(m string) error { return c.WriteMessage(websocket.TextMessage, []byte("pong "+m)) })
		_ = c.WriteControl(websocket.PingMessage, []byte("remote's"), time.Now().Add(time.Second))
		_, _, _ = c.ReadMessage()
	}))
	p.expect(index, "pong remote's")
}

func TestLimits(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.MaxClients, s.MaxChannels, s.MaxMessage = 2, 2, 1000 })
	p, other := connectPeer(t, url), connectPeer(t, url)
	_, resp, err := websocket.DefaultDialer.Dial(url, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)

	remote := backend(t, func(c *websocket.Conn) {
		_ = c.WriteMessage(websocket.TextMessage, make([]byte, 1000))
		_, _, _ = c.ReadMessage()
		_ = c.WriteMessage(websocket.TextMessage, make([]byte, 1001))
		_, _, err := c.ReadMessage()
		if !websocket.IsCloseError(err, 1009) {
			t.Error(err)
		}
	})
	index := p.connect(remote)
	_, _, m := p.receive()
	require.Len(t, m, 1000)
	p.send(index, websocket.TextMessage, "more")
	p.expectDisconnect(index, 1009)

	p.connect(backend(t, echo))
	p.connect(backend(t, echo))
	p.command(fmt.Sprintf(`{"method":"connect","params":{"url":%q}}`, remote))
	require.Equal(t, "too many connections", p.expectError(CodeDialError).Message)

	p.send(0, websocket.TextMessage, strings.Repeat("x", 998))
	p.receive()
	p.send(0, websocket.TextMessage, strings.Repeat("x", 999))
	p.expectClose(1009)
	other.connect(backend(t, echo))
}

func TestRequestsOfForeignPagesAreRefused(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.AllowedOrigins = []string{"https://*.example.com"} })
	for _, tc := range []struct {
		host, origin string
		status       int
	}{
		{"", "", 101},
		{"localhost", "http://localhost", 101},
		{"", "https://a.example.com", 101},
		{"", "https://example.org", 403},
		{"", "null", 403},
		{"evil.example", "", 403},
		{"evil.example", "http://evil.example", 403},
	} {
		header := http.Header{}
		if tc.host != "" {
			header.Set("Host", tc.host)
		}
		if tc.origin != "" {
			header.Set("Origin", tc.origin)
		}
		header.Set("X-Secret", "not to be reflected")
		c, resp, err := websocket.DefaultDialer.Dial(url, header)
		require.Equal(t, tc.status, resp.StatusCode, "%+v: %v", tc, err)
		require.Empty(t, resp.Header.Get("X-Secret"))
		if err == nil {
			_ = c.Close()
		}
	}
}

func TestShutdown(t *testing.T) {
	leaktest.Check(t)
	s, url := testServer(t, nil)
	said := make(chan error, 1)
	p, idle := connectPeer(t, url), connectPeer(t, url)
	p.connect(backend(t, func(c *websocket.Conn) {
		_, _, err := c.ReadMessage()
		said <- err
	}))
	ctx, cancel := context.WithTimeout(t.Context(), patienceInTests)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() { p.expectClose(1001) })
	wg.Go(func() { idle.expectClose(1001) })
	require.NoError(t, s.Shutdown(ctx))
	require.Less(t, time.Since(began), 3*time.Second)
	wg.Wait()
	require.True(t, websocket.IsCloseError(<-said, 1001))
	_, resp, err := websocket.DefaultDialer.Dial(url, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}

// TestIdleChannelsAreSmall counts what a process that has both ends of the connections, and the remotes' servers,
// uses for one more channel, of which wsplice's part is one of three.
func TestIdleChannelsAreSmall(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	// Remotes that cost as little as possible: none has a goroutine or a buffer.
	var conns []net.Conn
	var mu sync.Mutex
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := ws.Upgrade(conn); err != nil {
				t.Error(err)
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	})
	remote := "ws://" + listener.Addr().String()
	const warm, many = 20, 400
	for range warm {
		p.connect(remote)
	}
	before := inUse()
	for range many {
		p.connect(remote)
	}
	each := (inUse() - before) / many
	t.Logf("%d bytes a channel, the remote's descriptor included", each)
	require.Less(t, each, uint64(16<<10))
	_ = listener.Close()
	wg.Wait()
	for _, conn := range conns {
		_ = conn.Close()
	}
	for range warm + many {
		_, _, m := p.receive()
		require.Contains(t, m, "1006")
	}
}

// inUse returns how much memory is in use, stacks included.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
