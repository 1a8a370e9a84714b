package wsconn

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestZeroMask sends messages of all sizes while pings go both ways. All must come whole, and the large ones masked with zero.
func TestZeroMask(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "TLS"}[encrypted]
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(echo))
			if encrypted {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			conn, err := Dial(t.Context(), server.URL, nil, []string{"one"}, server.Client())
			require.NoError(t, err)
			defer func() { _ = conn.CloseNow() }()
			conn.SetReadLimit(1 << 20)
			conn.SetZeroMask(true)
			require.True(t, conn.zeroMask.Load())
			sizes := []int{0, 1, 5000, defaultMinBody - 1, defaultMinBody, 1 << 16, 300000}
			var pinging sync.WaitGroup
			stop := make(chan struct{})
			pinging.Go(func() { // Ends when stop is closed.
				for {
					select {
					case <-stop:
						return
					default:
						if err := conn.Ping(context.Background()); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
			// Ends when all is written.
			go func() {
				for range 20 {
					for _, n := range sizes {
						if err := conn.Write(context.Background(), bytes.Repeat([]byte{'x'}, n)); err != nil {
							t.Error(err)
						}
					}
				}
			}()
			for range 20 {
				for _, n := range sizes {
					r, err := conn.Reader(t.Context())
					require.NoError(t, err)
					got, err := io.ReadAll(r)
					require.NoError(t, err)
					require.Equal(t, bytes.Repeat([]byte{'x'}, n), got)
				}
			}
			close(stop)
			go func() { _, _ = conn.Reader(context.Background()) }() // The last pong. Ends with the connection.
			pinging.Wait()
		})
	}
}

// TestZeroMaskOnTheWire looks at what a client sends.
func TestZeroMaskOnTheWire(t *testing.T) {
	for _, tc := range []struct {
		name string
		on   bool
		size int
		zero bool
	}{
		{"not agreed", false, 1 << 16, false},
		{"small", true, 100, false},
		{"large", true, 1 << 16, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, wire := dialRaw(t)
			conn.SetZeroMask(tc.on)
			payload := bytes.Repeat([]byte{'x'}, tc.size)
			require.NoError(t, conn.Write(t.Context(), payload))
			header := make([]byte, 14)
			if tc.size < 126 {
				header = header[:6]
			}
			_, err := io.ReadFull(wire, header)
			require.NoError(t, err)
			require.EqualValues(t, 0x82, header[0])
			require.Equal(t, tc.zero, binary.NativeEndian.Uint32(header[len(header)-4:]) == 0)
			got := make([]byte, tc.size)
			_, err = io.ReadFull(wire, got)
			require.NoError(t, err)
			require.Equal(t, tc.zero, bytes.Equal(payload, got))
		})
	}
}

// TestNothingAfterCloseFrame writes while and after the library closes a connection.
func TestNothingAfterCloseFrame(t *testing.T) {
	conn, wire := dialRaw(t)
	conn.SetZeroMask(true)
	closed := make(chan struct{})
	// Ends when the peer has closed the connection.
	go func() {
		defer close(closed)
		_ = conn.Close(1000, "")
	}()
	header := make([]byte, 8) // a close frame with a code
	_, err := io.ReadFull(wire, header)
	require.NoError(t, err)
	require.EqualValues(t, 0x88, header[0])
	require.ErrorIs(t, conn.Write(t.Context(), make([]byte, 1<<16)), net.ErrClosed)
	require.NoError(t, wire.Close())
	<-closed
	require.ErrorIs(t, conn.Write(t.Context(), make([]byte, 1<<16)), net.ErrClosed)
}

// TestZeroMaskedWriteEnds writes to a peer that does not read. The end of the context must end the write, also behind a frame of the
// library that is stuck.
func TestZeroMaskedWriteEnds(t *testing.T) {
	for _, behind := range []bool{false, true} {
		conn, _ := dialRaw(t)
		var writing sync.WaitGroup
		if behind {
			writing.Go(func() { _ = conn.Write(context.Background(), make([]byte, 32<<20)) }) // Ends with the connection.
			require.Eventually(t, func() bool {
				conn.dialed.joiner.mu.Lock()
				defer conn.dialed.joiner.mu.Unlock()
				return !conn.dialed.joiner.frames.between()
			}, 10*time.Second, time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		require.Error(t, conn.dialed.writeMessage(ctx, make([]byte, 32<<20)))
		cancel()
		writing.Wait()
	}
}

// dialRaw connects to a server that is no more than its end of the connection.
func dialRaw(t *testing.T) (*CoderConn, net.Conn) {
	ends := make(chan net.Conn, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Sec-WebSocket-Accept", acceptKey(r.Header.Get("Sec-WebSocket-Key")))
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		ends <- conn
	}))
	t.Cleanup(server.Close)
	conn, err := Dial(t.Context(), server.URL, nil, nil, nil)
	require.NoError(t, err)
	wire := <-ends
	t.Cleanup(func() { _, _ = conn.CloseNow(), wire.Close() })
	return conn, wire
}

// acceptKey answers a handshake's key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// TestIsPrivate says where masks may be zero.
func TestIsPrivate(t *testing.T) {
	loopback := connTo(t, "tcp", "127.0.0.1:0")
	local := connTo(t, "unix", filepath.Join(t.TempDir(), "socket"))
	encrypted := tls.Client(loopback, nil)
	proxy := func(*http.Request) (*url.URL, error) { return url.Parse("http://127.0.0.1:3128") }
	noProxy := func(*http.Request) (*url.URL, error) { return nil, nil }
	badProxy := func(*http.Request) (*url.URL, error) { return nil, io.ErrUnexpectedEOF }
	for _, tc := range []struct {
		name, scheme string
		proxy        func(*http.Request) (*url.URL, error)
		conn         net.Conn
		private      bool
	}{
		{"loopback", "http", nil, loopback, true},
		{"loopback, no proxy for it", "http", noProxy, loopback, true},
		{"a proxy on loopback", "http", proxy, loopback, false},
		{"a broken proxy", "http", badProxy, loopback, false},
		{"Unix socket", "http", nil, local, true},
		{"a connection of the user's own", "http", nil, counting{Conn: loopback}, false},
		{"TLS", "https", nil, encrypted, true},
		{"TLS through a proxy", "https", proxy, encrypted, true},
		{"a TLS proxy", "http", proxy, encrypted, false},
		{"encryption of the user's own", "https", nil, loopback, false},
		{"no connection", "http", nil, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &http.Request{URL: &url.URL{Scheme: tc.scheme, Host: "host"}}
			require.Equal(t, tc.private, isPrivate(&http.Transport{Proxy: tc.proxy}, r, tc.conn))
		})
	}
}

// TestIsLoopback says which addresses are this machine's.
func TestIsLoopback(t *testing.T) {
	for address, loopback := range map[string]bool{"127.0.0.1": true, "127.1.2.3": true, "::1": true, "192.0.2.1": false, "2001:db8::1": false} {
		require.Equal(t, loopback, isLoopback(&net.TCPAddr{IP: net.ParseIP(address)}), address)
	}
	require.False(t, isLoopback(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
}

// connTo returns a connection to a new listener.
func connTo(t *testing.T, network, address string) net.Conn {
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	conn, err := net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
