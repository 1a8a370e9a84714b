package wsplice

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

// TestRefusalsNameNoInternals checks that a refusal contains the name that the client asked for, and not its address.
func TestRefusalsNameNoInternals(t *testing.T) {
	plain, secured := backend(t, echo), strings.Replace(backend(t, echo), "ws:", "wss:", 1)
	untrusted, _ := secureBackend(t, echo)
	for _, tc := range []struct{ name, allowed, url, want string }{
		{"private address", "localhost", plain, "address is not allowed"},
		{"nothing listens", "localhost " + loopback, closedPort(t), "connection refused"},
		{"reset", "localhost " + loopback, resetting(t), "failed"},
		{"no TLS", "localhost " + loopback, secured, "failed"},
		{"certificate", "localhost " + loopback, untrusted, "certificate can't be verified"},
		{"status", "localhost " + loopback, answering(t, func(_ *http.Request, conn net.Conn) {
			_, _ = conn.Write([]byte("HTTP/1.1 403 10.0.0.7 says no\r\n\r\n"))
		}), "answered with status 403"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, server := testServer(t, func(s *Server) {
				allowed, err := ParseAllowlist(tc.allowed)
				require.NoError(t, err)
				s.Allowed = allowed
			})
			p := connectPeer(t, server)
			url := strings.Replace(tc.url, "127.0.0.1", "localhost", 1)
			p.command(fmt.Sprintf(`{"method":"connect","params":{"url":%q}}`, url))
			message := p.expectError(CodeDialError).Message
			_, hostport, _ := strings.Cut(url, "://")
			require.Regexp(t, "^(connect to|handshake with) "+hostport+": "+tc.want+"$", message)
		})
	}
}

// TestRefusedLookups makes the errors of a resolver itself.
func TestRefusedLookups(t *testing.T) {
	for want, err := range map[string]error{
		"no such host":            &net.DNSError{Err: "no such host", Name: "a.test", Server: "10.0.0.2:53", IsNotFound: true},
		"name can't be looked up": &net.DNSError{Err: "server misbehaving", Name: "a.test", Server: "10.0.0.2:53"},
		"timed out":               &net.DNSError{Err: "i/o timeout", Name: "a.test", Server: "10.0.0.2:53", IsTimeout: true},
	} {
		failed := &dialError{"connect to", target{host: host{name: "a.test"}, port: 80}, &net.OpError{Op: "dial", Err: err}}
		require.Equal(t, "connect to a.test:80: "+want, refusal(failed))
		require.Contains(t, failed.Error(), "10.0.0.2", "for the log")
	}
	timeout := &dialError{"handshake with", target{host: host{name: "a.test"}, port: 80}, context.DeadlineExceeded}
	require.Equal(t, "handshake with a.test:80: timed out", refusal(timeout))
}

// TestLostRemoteNamesNoInternals fails a write to a remote.
func TestLostRemoteNamesNoInternals(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := newSplice(newSession(new(Server).options(), near, nil), &remote{Conn: far}, 0)
	c.fail(&net.OpError{Op: "write", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7)}, Err: syscall.EPIPE})
	said, answer := c.ending(net.ErrClosed)
	require.Equal(t, closing{code: ws.StatusAbnormalClosure}, said)
	require.False(t, answer)
}

// resetting returns the URL of a server that resets a connection instead of answering.
func resetting(t *testing.T) string {
	return answering(t, func(_ *http.Request, conn net.Conn) {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
}

// closedPort returns a URL at which nothing listens.
func closedPort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return "ws://" + listener.Addr().String()
}
