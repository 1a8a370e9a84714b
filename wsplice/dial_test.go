package wsplice

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

func TestDial(t *testing.T) {
	var got *http.Request
	server := accepting(t, func(r *http.Request) { got = r })
	server.Start()
	r, err := testDialer(t, loopback).dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/a%20b?c=d%20e",
		http.Header{"Cookie": {"a=b"}, "Authorization": {"Bearer x"}, "X-Two": {"1", "2"}}, []string{"first", "second"})
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, "second", r.subprotocol)
	require.Equal(t, "/a%20b?c=d%20e", got.RequestURI)
	require.Equal(t, strings.TrimPrefix(server.URL, "http://"), got.Host)
	require.Equal(t, "a=b", got.Header.Get("Cookie"))
	require.Equal(t, "Bearer x", got.Header.Get("Authorization"))
	require.Equal(t, []string{"1", "2"}, got.Header.Values("X-Two"))
	require.Empty(t, got.Header.Values("User-Agent"))
	require.Empty(t, got.Header.Values("Origin"))
}

func TestDialTLS(t *testing.T) {
	var name string
	server := accepting(t, func(r *http.Request) { name = r.TLS.ServerName })
	server.StartTLS()
	url := "wss" + strings.TrimPrefix(server.URL, "https")
	d := testDialer(t, loopback, "localhost")
	_, err := d.dial(t.Context(), url, nil, nil)
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)

	// The certificate is for the address and for example.com.
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	d.tls = &tls.Config{RootCAs: roots}
	r, err := d.dial(t.Context(), url, nil, nil)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Empty(t, name, "an address is no server name")

	_, err = d.dial(t.Context(), strings.Replace(url, "127.0.0.1", "localhost", 1), nil, nil)
	var wrong x509.HostnameError
	require.ErrorAs(t, err, &wrong)
}

// An allowed name opens no way to an internal address.
func TestDialChecksTheResolvedAddress(t *testing.T) {
	_, err := testDialer(t, "localhost").dial(t.Context(), forbidden(t, "localhost"), nil, nil)
	require.ErrorIs(t, err, errAddress)
	_, err = testDialer(t, "localhost 10.0.0.0/8 127.0.0.1:1").dial(t.Context(), forbidden(t, "localhost"), nil, nil)
	require.ErrorIs(t, err, errAddress)
}

func TestDialNameOfListedAddress(t *testing.T) {
	server := accepting(t, func(*http.Request) {})
	server.Start()
	url := strings.NewReplacer("http", "ws", "127.0.0.1", "LocalHost.").Replace(server.URL)
	r, err := testDialer(t, loopback, "localhost").dial(t.Context(), url, nil, nil)
	require.NoError(t, err)
	require.NoError(t, r.Close())
}

func TestDialRefusesHost(t *testing.T) {
	for _, entries := range []string{"", "localhost", "127.0.0.2", "127.0.0.1:1", "::1", "*.0.0.1.test"} {
		_, err := testDialer(t, entries).dial(t.Context(), forbidden(t, "127.0.0.1"), nil, nil)
		require.ErrorIs(t, err, errHostname, entries)
	}
}

func TestDialRefusesURL(t *testing.T) {
	for _, url := range []string{
		"", "/", "localhost", "localhost:80", "//localhost", "http://localhost", "https://localhost", "ftp://localhost",
		"ws:", "ws:localhost", "ws:/localhost", "ws://", "ws:///", "ws://:80", "ws://user@localhost", "ws://u:p@localhost",
		"ws://@localhost", "ws://localhost:0", "ws://localhost:65536", "ws://localhost:x", "ws://localhost:-1",
		"ws://localhost#f", "ws://local host", "ws://localhost/a b", "ws://localhost/?a b", "ws://localhost/\r\nX: y",
		"ws://localhost/?\r\nX: y", "ws://localhost\x00", "ws://localhost/\x7f", "ws://bücher.example", "ws://localhost/?ü",
		"ws://127.1", "ws://0x7f.1", "ws://0x7f000001", "ws://2130706433", "ws://017700000001", "ws://127.0.0.01",
		"ws://127.0.0.1.1", "ws://[fe80::1%25lo]", "ws://[::1", "ws://::1", "ws://[localhost]", "ws://[127.0.0.1]",
		"ws://local%68ost", "ws://a..b", "ws://.", "ws://*.example.com", "ws://a,b", "ws://a/b%zz", " ws://localhost",
	} {
		_, err := testDialer(t, "localhost", "127.0.0.0/8", "::/0").dial(t.Context(), url, nil, nil)
		require.ErrorIs(t, err, errURL, "%q", url)
	}
}

func TestDialRefusesHeaderAndSubprotocol(t *testing.T) {
	d := testDialer(t, loopback)
	_, err := d.dial(t.Context(), forbidden(t, "127.0.0.1"), http.Header{"Host": {"x"}}, nil)
	require.ErrorIs(t, err, errHeader)
	_, err = d.dial(t.Context(), forbidden(t, "127.0.0.1"), nil, []string{"a,b"})
	require.ErrorIs(t, err, errSubprotocol)
}

func TestDialKeepsWhatFollowsTheHandshake(t *testing.T) {
	frames := strings.Repeat("early", 2000)
	url := answering(t, func(r *http.Request, conn net.Conn) { _, _ = io.WriteString(conn, accept(r)+"\r\n"+frames) })
	r, err := testDialer(t, loopback).dial(t.Context(), url, nil, nil)
	require.NoError(t, err)
	defer r.Close()
	require.NotEmpty(t, r.early)
	rest := make([]byte, len(frames)-len(r.early))
	_, err = io.ReadFull(r, rest)
	require.NoError(t, err)
	require.Equal(t, frames, string(r.early)+string(rest))
}

func TestDialFollowsNoRedirect(t *testing.T) {
	location := forbidden(t, "127.0.0.1")
	url := answering(t, func(_ *http.Request, conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 302 Found\r\nLocation: "+location+"\r\n\r\n")
	})
	_, err := testDialer(t, loopback).dial(t.Context(), url, nil, nil)
	require.ErrorIs(t, err, ws.StatusError(http.StatusFound))
}

func TestDialRefusesAnswer(t *testing.T) {
	for name, answer := range map[string]func(r *http.Request) string{
		"none":             func(*http.Request) string { return "" },
		"garbage":          func(*http.Request) string { return "SSH-2.0-x\r\n" },
		"no accept":        func(*http.Request) string { return switching + "\r\n" },
		"wrong accept":     func(*http.Request) string { return accept(new(http.Request)) + "\r\n" },
		"long line":        func(r *http.Request) string { return accept(r) + "X: " + strings.Repeat("x", maxResponse) },
		"many lines":       func(r *http.Request) string { return accept(r) + strings.Repeat("X: x\r\n", maxResponse/6) },
		"subprotocol":      func(r *http.Request) string { return accept(r) + "Sec-WebSocket-Protocol: other\r\n\r\n" },
		"extension":        func(r *http.Request) string { return accept(r) + "Sec-WebSocket-Extensions: x\r\n\r\n" },
		"old HTTP version": func(r *http.Request) string { return strings.Replace(accept(r), "/1.1", "/1.0", 1) + "\r\n" },
	} {
		t.Run(name, func(t *testing.T) {
			url := answering(t, func(r *http.Request, conn net.Conn) {
				_, _ = io.WriteString(conn, answer(r))
				_ = conn.(*net.TCPConn).CloseWrite()
			})
			_, err := testDialer(t, loopback).dial(t.Context(), url, nil, []string{"mine"})
			require.Error(t, err)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}

func TestDialTimeout(t *testing.T) {
	for _, scheme := range []string{"ws:", "wss:"} {
		url := answering(t, func(*http.Request, net.Conn) {})
		d := testDialer(t, loopback)
		d.timeout = 50 * time.Millisecond
		_, err := d.dial(t.Context(), strings.Replace(url, "ws:", scheme, 1), nil, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

func TestDialCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := answering(t, func(*http.Request, net.Conn) { cancel() })
	_, err := testDialer(t, loopback).dial(ctx, url, nil, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// The end of the context of dial does not end the remote.
func TestRemoteOutlivesContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := answering(t, func(r *http.Request, conn net.Conn) {
		_, _ = io.WriteString(conn, accept(r)+"\r\n")
		<-ctx.Done()
		_, _ = io.WriteString(conn, "late")
	})
	r, err := testDialer(t, loopback).dial(ctx, url, nil, nil)
	require.NoError(t, err)
	defer r.Close()
	cancel()
	late := make([]byte, 4)
	_, err = io.ReadFull(r, late)
	require.NoError(t, err)
}

// testDialer returns a dialer that may dial the entries.
func testDialer(t *testing.T, entries ...string) *dialer {
	a, err := ParseAllowlist(entries...)
	require.NoError(t, err)
	return &dialer{allowed: a, timeout: 10 * time.Second}
}

// accepting returns a server that is not started yet. It passes each request to seen, makes a WebSocket of it, and
// closes that.
func accepting(t *testing.T, seen func(*http.Request)) *httptest.Server {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen(r)
		upgrade := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == "second" }}
		conn, _, _, err := upgrade.Upgrade(r, w)
		if err == nil {
			_ = conn.Close()
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// forbidden returns a URL with the host. The test fails if anything connects to it.
func forbidden(t *testing.T, host string) (url string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	// Ends when the listener is closed.
	go func() {
		defer close(done)
		if _, err := listener.Accept(); err == nil {
			t.Error("connected")
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return "ws://" + net.JoinHostPort(host, port)
}

// accept returns the beginning of an answer that accepts a handshake. Further headers may follow.
func accept(request *http.Request) string {
	return switching + "Sec-WebSocket-Accept: " + acceptKey(request.Header.Get("Sec-WebSocket-Key")) + "\r\n"
}

// acceptKey returns the answer to a key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
