package wsplice

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/timetest"
)

// TestDeadlineIsClearedUnderLock checks that an outlet's goroutine clears the write deadline with the lock held.
// Otherwise it could clear the deadline of the next goroutine.
func TestDeadlineIsClearedUnderLock(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	conn := &hookedConn{Conn: near}
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	o := &outlet{
		line: newLine(conn), timeout: testTimeout, failed: func(err error) { failed <- err }, wg: &wg,
		moved: make(chan struct{}, 1), urgent: new(atomic.Pointer[[]byte]),
	}
	cleared := 0
	conn.clearing = func() {
		cleared++
		if o.mu.TryLock() {
			o.mu.Unlock()
			t.Error("another goroutine could write")
		}
	}
	frame := appendFrame(nil, ws.OpBinary, true, []byte("x"))
	send := func() { require.True(t, o.send([][]byte{frame}, 1, false, maxQueue)) }
	send()
	_, err := io.ReadFull(far, make([]byte, len(frame)))
	require.NoError(t, err)
	wg.Wait()
	require.Equal(t, 1, cleared)
	// The other end takes no more bytes.
	o.timeout = maxDelay
	send()
	wg.Wait()
	require.ErrorIs(t, timetest.Receive(t, failed), errWriteTimeout)
}

// hookedConn calls clearing before its write deadline is cleared.
type hookedConn struct {
	net.Conn
	clearing func()
}

func (c *hookedConn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.clearing()
	}
	return c.Conn.SetWriteDeadline(t)
}
