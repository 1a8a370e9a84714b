package wsplice

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// refusedHandshakes are headers that make a handshake invalid.
var refusedHandshakes = []struct{ header, value string }{
	{"Upgrade", ""}, {"Upgrade", "h2c"}, {"Connection", "keep-alive"}, {"Sec-WebSocket-Version", "12"},
	{"Sec-WebSocket-Version", ""}, {"Sec-WebSocket-Key", ""}, {"Sec-WebSocket-Key", "c2hvcnQ="},
	{"Origin", "https://example.org"},
}

// TestRefusedHandshakesLeaveNoConnections has clients that keep their end open.
func TestRefusedHandshakesLeaveNoConnections(t *testing.T) {
	url, conns := startTracked(t, new(Server))
	for range 40 {
		for _, tc := range refusedHandshakes {
			// Each request has its own connection. The client does not close it.
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, handshakeRequest(t, url, tc.header, tc.value).Write(conn))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.GreaterOrEqual(t, resp.StatusCode, 400, "%+v", tc)
			require.True(t, resp.Close, "%+v", tc)
			require.Equal(t, "13", resp.Header.Get("Sec-WebSocket-Version"))
		}
	}
	require.Eventually(t, func() bool { return conns.count() == 0 }, testTimeout, soon/100)
}

// TestRefusedHandshakeBehindAProxy has a proxy that keeps connections between requests. The next client's handshake
// must not come on a connection that is of no use any more.
func TestRefusedHandshakeBehindAProxy(t *testing.T) {
	backend, _ := startTracked(t, new(Server))
	target, err := url.Parse(backend)
	require.NoError(t, err)
	behind := httputil.NewSingleHostReverseProxy(target)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	transport.ResponseHeaderTimeout = testTimeout // Without it a hanging handshake would keep the proxy from ending.
	behind.Transport = transport
	proxy := httptest.NewServer(behind)
	defer proxy.Close()
	for _, tc := range refusedHandshakes {
		resp, err := http.DefaultClient.Do(handshakeRequest(t, proxy.URL, tc.header, tc.value))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.GreaterOrEqual(t, resp.StatusCode, 400, "%+v", tc)
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		client, err := Dial(ctx, proxy.URL, nil)
		cancel()
		require.NoError(t, err, "after %+v", tc)
		require.NoError(t, client.Close())
	}
}

// TestFailedHandshakeClosesTheConnection has a client that closes its end before the answer.
func TestFailedHandshakeClosesTheConnection(t *testing.T) {
	near, far := net.Pipe()
	require.NoError(t, far.Close())
	conns := &trackedConns{open: map[net.Conn]struct{}{}}
	tracked := &trackedConn{near, conns}
	conns.open[tracked] = struct{}{}
	_, _, err := upgrade(hijackable{httptest.NewRecorder(), tracked}, handshakeRequest(t, "http://localhost", "A", "b"))
	require.Error(t, err)
	require.Zero(t, conns.count())
}

// trackedConns are the open connections of a server.
type trackedConns struct {
	net.Listener
	mu   sync.Mutex // guards what follows
	open map[net.Conn]struct{}
}

type trackedConn struct {
	net.Conn
	tracker *trackedConns
}

func (l *trackedConns) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	tracked := &trackedConn{conn, l}
	l.open[tracked] = struct{}{}
	return tracked, nil
}

func (c *trackedConn) Close() error {
	c.tracker.mu.Lock()
	delete(c.tracker.open, c)
	c.tracker.mu.Unlock()
	return c.Conn.Close()
}

func (l *trackedConns) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// startTracked starts a server whose connections are tracked.
func startTracked(t *testing.T, handler http.Handler) (url string, conns *trackedConns) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	conns = &trackedConns{Listener: server.Listener, open: map[net.Conn]struct{}{}}
	server.Listener = conns
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, conns
}

// handshakeRequest returns a request for a WebSocket with one header changed.
func handshakeRequest(t *testing.T, url, name, value string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Header = http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	r.Header.Set(name, value)
	return r
}

// hijackable is a response whose connection can be taken over.
type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}
