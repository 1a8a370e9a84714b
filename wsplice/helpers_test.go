package wsplice

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/timetest"
)

// testTimeout is how long a test waits for an event that should happen at once.
const testTimeout = timetest.Patience

// soon is how long an action that waits for nothing may take on a busy machine. A faulty action takes longer.
const soon = 4 * time.Second

// stopwatch measures the time in which this process could run. A stall of the machine counts as one tick.
func stopwatch(t *testing.T) (elapsed func() time.Duration) {
	const tick = 10 * time.Millisecond
	var ticks atomic.Int64
	ticker := time.NewTicker(tick)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	// Ends with the test.
	wg.Go(func() {
		for {
			select {
			case <-ticker.C: // Ticks during a stall are dropped.
				ticks.Add(1)
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() {
		ticker.Stop()
		close(stop)
		wg.Wait()
	})
	return func() time.Duration { return time.Duration(ticks.Load()) * tick }
}

// testServer starts a Server that may dial this machine. It is shut down at the test's end.
func testServer(t *testing.T, change func(*Server)) (s *Server, url string) {
	t.Helper()
	started := startServer(t, false, change)
	return started.Server, started.url
}

// tested is a running Server.
type tested struct {
	*Server
	url string
	tls *tls.Config // for clients; nil without TLS
}

func startServer(t *testing.T, secure bool, change func(*Server)) *tested {
	t.Helper()
	allowed, err := ParseAllowlist(loopback)
	require.NoError(t, err)
	s := &Server{Allowed: allowed}
	if change != nil {
		change(s)
	}
	server := httptest.NewUnstartedServer(s)
	started := &tested{Server: s}
	if secure {
		server.StartTLS()
		started.tls = clientTLS(server)
	} else {
		server.Start()
	}
	started.url = toWS(server.URL)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		server.Close()
	})
	return started
}

// clientTLS returns the configuration of a client that trusts the server.
func clientTLS(server *httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return &tls.Config{RootCAs: roots}
}

// session returns the only session.
func (s *tested) session(t *testing.T) *session {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.sessions, 1)
	for served := range s.sessions {
		return served
	}
	return nil
}

func toWS(url string) string { return "ws" + strings.TrimPrefix(url, "http") }

// backend starts a remote that runs f with each connection of gorilla/websocket. It returns the URL.
func backend(t *testing.T, f func(c *websocket.Conn)) string {
	t.Helper()
	server := httptest.NewServer(serveWebSocket(f))
	t.Cleanup(server.Close)
	return toWS(server.URL)
}

// secureBackend is backend with TLS. It also returns the configuration of a client that trusts the remote.
func secureBackend(t *testing.T, f func(c *websocket.Conn)) (url string, config *tls.Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(serveWebSocket(f))
	server.Config.ErrorLog = log.New(leaktest.OnlyPanics, "", 0) // Some tests have a client that does not trust it.
	server.StartTLS()
	t.Cleanup(server.Close)
	return toWS(server.URL), clientTLS(server)
}

func serveWebSocket(f func(c *websocket.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		f(c)
	})
}

// echo sends every message back.
func echo(c *websocket.Conn) {
	for {
		kind, p, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// tcp returns a connection's TCP connection.
func tcp(c net.Conn) *net.TCPConn {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	return c.(*net.TCPConn)
}

// dialTest returns a Client. It is closed at the test's end.
func dialTest(t *testing.T, url string, opts *DialOptions) *Client {
	t.Helper()
	c, err := Dial(t.Context(), url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func connectTest(t *testing.T, c *Client, url string) *Channel {
	t.Helper()
	ch, err := c.Connect(t.Context(), url, nil)
	require.NoError(t, err)
	return ch
}

// read returns the next message.
func read(ch *Channel) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	r, err := ch.Reader(ctx)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

func requireRead(t *testing.T, want string, ch *Channel) {
	t.Helper()
	got, err := read(ch)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

const loopback = "127.0.0.1 ::1"

// answering returns the URL of a server that reads one request and calls answer.
func answering(t *testing.T, answer func(request *http.Request, conn net.Conn)) (url string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	// Ends when the listener is closed, or the only connection.
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			answer(request, conn)
		}
		_, _ = io.Copy(io.Discard, conn)
	}()
	return "ws://" + listener.Addr().String()
}

// held returns how many bytes the channel holds.
func (ch *Channel) held() int64 {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.size
}

// inUse returns how much memory is in use, stacks included.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// readSlowly reads rate bytes a second until stop is closed. Its socket buffers are small.
func readSlowly(c *websocket.Conn, rate int, stop <-chan struct{}) {
	const each = 10 * time.Millisecond
	p := make([]byte, rate/int(time.Second/each))
	_ = tcp(c.NetConn()).SetReadBuffer(max(8<<10, 2*len(p)))
	t := time.NewTicker(each)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if _, err := c.NetConn().Read(p); err != nil {
				return
			}
		case <-stop:
			return
		}
	}
}

// frames returns about chunk bytes of binary messages of n bytes each, and their number.
func frames(chunk, n int, masked bool, index []byte) (b []byte, count int) {
	for payload := make([]byte, n); ; count++ {
		next := appendFrame(b, ws.OpBinary, masked, index, payload)
		if len(next) > chunk && count > 0 {
			return b, count
		}
		b = next
	}
}
