package wsconn

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPingWhileClosing: a peer pings before it reads the close frame. It must still get the time to read that.
func TestPingWhileClosing(t *testing.T) {
	for name, tc := range map[string]struct {
		wire        func(t *testing.T, end func(*CoderConn)) net.Conn
		header      int // the size, in bytes, of a close frame with a code
		ping, reply []byte
	}{
		"dialed": {func(t *testing.T, end func(*CoderConn)) net.Conn {
			conn, wire := dialRaw(t)
			go end(conn) // Ends with the close handshake.
			return wire
		}, 8, []byte{0x89, 0}, []byte{0x88, 2, 0x03, 0xe8}},
		"accepted": {func(t *testing.T, end func(*CoderConn)) net.Conn { return served(t, "tcp", end) }, 4, []byte{0x89, 0x80, 0, 0, 0, 0}, []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}},
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan error, 1)
			wire := tc.wire(t, func(n *CoderConn) { closed <- n.Close(1000, "") })
			frame := make([]byte, tc.header)
			_, err := io.ReadFull(wire, frame)
			require.NoError(t, err)
			require.EqualValues(t, 0x88, frame[0])
			_, err = wire.Write(tc.ping)
			require.NoError(t, err)
			require.NoError(t, wire.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
			_, err = wire.Read(frame)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "there is no pong, and the connection is open")
			require.NoError(t, wire.SetReadDeadline(time.Time{}))
			_, err = wire.Write(tc.reply)
			require.NoError(t, err)
			require.NoError(t, <-closed)
		})
	}
}
