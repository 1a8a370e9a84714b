package wsplice

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/timetest"
)

// The begin and the end of a remote's connection.

// TestRemotesEndReachesClient closes remotes in different ways, and uses the freed index.
func TestRemotesEndReachesClient(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		_, url := testServer(t, func(s *Server) { s.LegacyCloseMethod = legacy })
		method, lost := "onSocketDisconnect", 1006
		if legacy {
			method, lost = "onSocketClosed", 1001
		}
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
			{func(c *websocket.Conn) { _ = c.NetConn().Close() }, lost, ""},
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
		require.Equal(t, &websocket.CloseError{Code: 4001, Text: "enough"}, timetest.Receive(t, said))
		p.send(index, websocket.TextMessage, "nobody there")
		p.expectError(CodeUnknownConnection)
	}
}

// TestEarlyBytes has a remote that sends a message together with the answer to the handshake.
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

// requestReader returns the bytes of a request.
func requestReader(r *http.Request) io.Reader {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET / HTTP/1.1\r\nHost: %s\r\n", r.Host)
	_ = r.Header.Write(&b)
	b.WriteString("\r\n")
	return &b
}
