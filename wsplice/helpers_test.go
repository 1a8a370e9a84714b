package wsplice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// patienceInTests is how long a test waits for what should happen at once.
const patienceInTests = 20 * time.Second

// soon is how long what waits for nothing may take on a busy machine. What should not happen takes longer.
const soon = 4 * time.Second

// stopwatch returns how much time has passed in which this process could run. A stall of the machine is a tick of it.
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
			case <-ticker.C: // Those that nobody was there to take are dropped.
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

// testServer is a Server that may dial this machine, and is shut down with the test.
func testServer(t *testing.T, change func(*Server)) (s *Server, url string) {
	t.Helper()
	started := startServer(t, false, change)
	return started.Server, started.url
}

// tested is a Server that runs, with TLS if that is set.
type tested struct {
	*Server
	url string
	tls *tls.Config // a client's
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
		ctx, cancel := context.WithTimeout(context.Background(), patienceInTests)
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

// backend serves what f does with a connection of gorilla/websocket, and returns the URL.
func backend(t *testing.T, f func(c *websocket.Conn)) string {
	t.Helper()
	server := httptest.NewServer(serveWebSocket(f))
	t.Cleanup(server.Close)
	return toWS(server.URL)
}

// secureBackend is a backend with TLS. It also returns what a client must trust.
func secureBackend(t *testing.T, f func(c *websocket.Conn)) (url string, config *tls.Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(serveWebSocket(f))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // A client that does not trust it is part of a test.
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

// echo returns every message.
func echo(c *websocket.Conn) {
	for {
		kind, p, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// peer is a client of gorilla/websocket.
type peer struct {
	t *testing.T
	*websocket.Conn
}

func connectPeer(t *testing.T, url string) *peer {
	t.Helper()
	return (&tested{url: url}).connectPeer(t)
}

func (s *tested) connectPeer(t *testing.T) *peer {
	t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: s.tls}
	c, resp, err := dialer.DialContext(t.Context(), s.url, nil)
	require.NoError(t, err)
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = c.Close() })
	return &peer{t, c}
}

// send sends a message with an index.
func (p *peer) send(index int, kind int, message string) {
	p.t.Helper()
	b := append(binary.BigEndian.AppendUint16(nil, uint16(index)), message...)
	require.NoError(p.t, p.WriteMessage(kind, b))
}

func (p *peer) command(text string) {
	p.t.Helper()
	p.send(controlIndex, websocket.TextMessage, text)
}

// receive returns the next message, and its index.
func (p *peer) receive() (index int, kind int, message string) {
	p.t.Helper()
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(patienceInTests)))
	kind, b, err := p.ReadMessage()
	require.NoError(p.t, err)
	require.GreaterOrEqual(p.t, len(b), indexSize)
	return int(binary.BigEndian.Uint16(b)), kind, string(b[indexSize:])
}

// expect waits for a message.
func (p *peer) expect(index int, message string) {
	p.t.Helper()
	i, _, m := p.receive()
	require.Equal(p.t, index, i, "message %q", m)
	require.Equal(p.t, message, m)
}

// expectControl waits for a control message.
func (p *peer) expectControl(message string) {
	p.t.Helper()
	i, kind, m := p.receive()
	require.Equal(p.t, controlIndex, i, "message %q", m)
	require.Equal(p.t, websocket.TextMessage, kind)
	require.JSONEq(p.t, message, m)
}

// expectError waits for a reply or a warning with an error of the code.
func (p *peer) expectError(code int) Error {
	p.t.Helper()
	i, _, m := p.receive()
	require.Equal(p.t, controlIndex, i, "message %q", m)
	var answer struct {
		Type   string
		Method string
		Error  *Error
		Params *Error
	}
	require.NoError(p.t, json.Unmarshal([]byte(m), &answer))
	e := answer.Error
	if answer.Type == typeMethod && answer.Method == methodWarn {
		e = answer.Params
	}
	require.NotNil(p.t, e, "message %q", m)
	require.Equal(p.t, code, e.Code, "message %q", m)
	return *e
}

// connect connects to a URL and returns the index.
func (p *peer) connect(url string) int {
	p.t.Helper()
	p.command(`{"id":7,"type":"method","method":"connect","params":{"url":"` + url + `"}}`)
	i, _, m := p.receive()
	require.Equal(p.t, controlIndex, i, "message %q", m)
	var answer struct {
		ID     int
		Result *struct{ Index int }
	}
	require.NoError(p.t, json.Unmarshal([]byte(m), &answer))
	require.NotNil(p.t, answer.Result, "message %q", m)
	require.Equal(p.t, 7, answer.ID)
	return answer.Result.Index
}

// expectClose waits for a close frame.
func (p *peer) expectClose(code int) {
	p.t.Helper()
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(patienceInTests)))
	for {
		_, _, err := p.ReadMessage()
		if err == nil {
			continue
		}
		require.True(p.t, websocket.IsCloseError(err, code), "%v", err)
		return
	}
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), v), "message %q", text)
}

// tcp returns the connection that is, or carries, another.
func tcp(c net.Conn) *net.TCPConn {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	return c.(*net.TCPConn)
}
