package wsplice

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"cdr.dev/slog"
	"cdr.dev/slog/sloggers/sloghuman"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/streamtest"
)

// TestLog checks that text of clients and remotes can't control a terminal and can't forge a line, and that failed
// connects are logged at a bounded rate.
func TestLog(t *testing.T) {
	var log streamtest.Buffer
	s := startServer(t, false, func(s *Server) { s.Logger = slog.Make(sloghuman.Sink(&log)) })
	p := s.connectPeer(t)
	urls := []string{
		refusingRemote(t, "HTTP/1.1 403 \x1b[31mhostile\r\n\r\n"),
		refusingRemote(t, "\x1b[31mhostile\nforged\n\r\n\r\n"),
		refusingRemote(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: \x1b[31mhostile\r\n\r\n"),
		`ws://\u001b[31m/hostile`,
		`ws://127.0.0.1/\u009bhostile\nforged`,
		"ws://unlisted.example/" + strings.Repeat("x", 10_000),
	}
	for i := range 100 {
		p.command(fmt.Sprintf(`{"id":7,"type":"method","method":"connect","params":{"url":"%s"}}`, urls[i%len(urls)]))
		_, _, answer := p.receive()
		require.Contains(t, answer, `"error"`)
	}
	logged := log.String()
	require.Equal(t, 10, strings.Count(logged, "\n"), logged)
	require.Equal(t, 10, strings.Count(logged, "refused or failed connect"))
	require.NotContains(t, logged, "\x1b")
	require.NotContains(t, logged, "\u009b")
	require.Less(t, len(logged), 16<<10)
}

// refusingRemote starts a remote that gives every handshake the same answer.
func refusingRemote(t *testing.T, answer string) (url string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	// Ends with the listener.
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4<<10)
			_, _ = conn.Read(buf)
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	return "ws://" + listener.Addr().String()
}
