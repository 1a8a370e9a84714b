package wsconn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJoinerSendsFramesWhole(t *testing.T) {
	for _, masked := range []bool{false, true} {
		for _, piece := range []int{1, 2, 3, 7, 100, 4096, 10000, 1 << 20} {
			t.Run(fmt.Sprintf("masked %t/pieces of %d", masked, piece), func(t *testing.T) {
				r := &recorder{}
				j := &joiner{w: r}
				var all []byte
				for _, n := range []int{0, 1, 125, 126, 127, 4090, 65535, 65536, 100000, 0, 5} {
					f := frame(n, masked)
					all = append(all, f...)
					before := len(r.writes)
					for rest := f; len(rest) > 0; {
						k := min(piece, len(rest))
						m, err := j.Write(rest[:k])
						if err != nil || m != k {
							t.Fatal(m, err)
						}
						rest = rest[k:]
						if len(rest) > 0 && piece < largePiece && len(r.writes) != before {
							t.Fatal("something is sent before the frame's end")
						}
					}
					require.Greater(t, len(r.writes), before, "nothing is held back after the frame's end")
					if piece < largePiece || piece > len(f) {
						require.Equal(t, before+1, len(r.writes))
					}
				}
				require.True(t, bytes.Equal(all, bytes.Join(r.writes, nil)))
				require.Nil(t, j.held)
			})
		}
	}
}

func TestJoinerBoundsWhatItHolds(t *testing.T) {
	r := &recorder{}
	j := &joiner{w: r}
	f := frame(4<<20, true)
	for rest := f; len(rest) > 0; rest = rest[min(4096, len(rest)):] {
		_, err := j.Write(rest[:min(4096, len(rest))])
		require.NoError(t, err)
		if j.held != nil {
			require.Less(t, len(*j.held), maxHeld+4096)
		}
	}
	require.True(t, bytes.Equal(f, bytes.Join(r.writes, nil)))
	require.Greater(t, len(r.writes), 4)
}

func FuzzFrameCounter(f *testing.F) {
	f.Add(frame(5, true), uint8(1))
	f.Add(append(frame(200, false), frame(0, true)...), uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		// The frames end at the same places, however the stream is cut.
		var whole, cut frameCounter
		want := whole.count(stream)
		got := true
		for rest := stream; len(rest) > 0; {
			k := min(int(piece)+1, len(rest))
			got = cut.count(rest[:k])
			rest = rest[k:]
		}
		if len(stream) > 0 {
			require.Equal(t, want, got)
		}
		require.Equal(t, whole.payload, cut.payload)
		require.Equal(t, whole.have, cut.have)
	})
}

func TestDialAndAccept(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", encrypted), func(t *testing.T) {
			var sent, returned atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(echo))
			server.Listener = countingListener{server.Listener, &returned}
			if encrypted {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			client := countingClient(server.Client(), &sent)
			conn, err := Dial(t.Context(), server.URL, nil, []string{"one"}, client)
			require.NoError(t, err)
			defer func() { _ = conn.CloseNow() }()
			conn.SetReadLimit(1 << 20)
			for _, n := range []int{0, 1, 5000, 1 << 16, 300000} {
				sent.Store(0)
				returned.Store(0)
				b := frame(n, false)
				require.NoError(t, conn.Write(t.Context(), b))
				r, err := conn.Reader(t.Context())
				require.NoError(t, err)
				got, err := io.ReadAll(r)
				require.NoError(t, err)
				require.True(t, bytes.Equal(b, got))
				// TLS has records of its own. A large frame of the server is not copied. Its header is written first,
				// because a wrapped connection can't write both with one system call.
				if !encrypted {
					require.EqualValues(t, 1, sent.Load(), "writes for %d bytes", n)
					require.LessOrEqual(t, returned.Load(), int64(2), "writes for %d bytes", n)
				}
			}
			go func() { _, _ = conn.Reader(context.Background()) }()
			require.NoError(t, conn.Ping(t.Context()))
		})
	}
}

func TestDialWithoutClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	conn, err := Dial(t.Context(), server.URL, nil, nil, nil)
	require.NoError(t, err)
	require.NoError(t, conn.CloseNow())
}

// recorder records writes.
type recorder struct{ writes [][]byte }

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, bytes.Clone(p))
	return len(p), nil
}

// frame returns a WebSocket frame with a payload of n bytes.
func frame(n int, masked bool) []byte {
	b := []byte{0x82}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = append(b, mask|126, byte(n>>8), byte(n))
	default:
		b = append(b, mask|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	if masked {
		b = append(b, 1, 2, 3, 4)
	}
	payload := make([]byte, n)
	for i := range payload {
		payload[i] = byte(i ^ i>>8)
	}
	return append(b, payload...)
}

// counting is a connection that counts its writes.
type counting struct {
	net.Conn
	writes *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// countingListener accepts connections that count their writes.
type countingListener struct {
	net.Listener
	writes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return counting{conn, l.writes}, err
}

// countingClient returns a client whose connections count their writes.
func countingClient(client *http.Client, writes *atomic.Int64) *http.Client {
	t := client.Transport.(*http.Transport).Clone()
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return counting{conn, writes}, err
	}
	return &http.Client{Transport: t}
}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := Accept(w, r, []string{"one"})
	if err != nil {
		return
	}
	conn.SetReadLimit(1 << 20)
	for {
		r, err := conn.Reader(context.Background())
		if err != nil {
			return
		}
		b, err := io.ReadAll(r)
		if err != nil || conn.Write(context.Background(), b) != nil {
			return
		}
	}
}
