package fleet

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLocalBuffers has both ends of a connection write before one of them reads, as two pings that cross do.
func TestLocalBuffers(t *testing.T) {
	t.Parallel()
	l := NewLocal("n1")
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() { // Ends with the connection, or the listener.
		conn, _ := l.Accept()
		accepted <- conn
	}()
	ours, err := l.dial(t.Context())
	require.NoError(t, err)
	ends := []net.Conn{ours, <-accepted}
	for _, end := range ends {
		defer end.Close()
		require.NoError(t, end.SetDeadline(time.Now().Add(30*time.Second)))
		_, err := end.Write(make([]byte, 4<<10))
		require.NoError(t, err)
	}
	for _, end := range ends {
		_, err := io.ReadFull(end, make([]byte, 4<<10))
		require.NoError(t, err)
	}
}
