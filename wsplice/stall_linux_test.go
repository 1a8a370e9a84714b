package wsplice

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestStallIsNotTheRemotesFault stops this process, as a busy machine does, while the session's reader waits for a
// remote that reads fast enough.
func TestStallIsNotTheRemotesFault(t *testing.T) {
	s := startServer(t, false, nil)
	p := connectPeer(t, s.url)
	stop := make(chan struct{})
	defer close(stop)
	steady := p.connect(backend(t, func(c *websocket.Conn) { readSlowly(c, 4*minRate, stop) }))
	lively := p.connect(backend(t, echo))
	channel := s.session(t).table.get(steady)
	require.NoError(t, tcp(channel.line.Conn).SetWriteBuffer(64<<10))
	const chunk = 64 << 10
	for sent := 0; sent < maxQueue+(4<<20); sent += chunk {
		if sent == maxQueue+(2<<20) {
			stall(t)
		}
		p.send(steady, websocket.BinaryMessage, strings.Repeat("x", chunk))
	}
	p.send(lively, websocket.TextMessage, "x")
	p.expect(lively, "x")
	require.NoError(t, channel.failure())
}

// stall stops this process for longer than a remote may keep others waiting.
func stall(t *testing.T) {
	t.Helper()
	stopped := exec.Command("sh", "-c", `kill -STOP $PPID; sleep 1; kill -CONT $PPID`)
	out, err := stopped.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// failure returns why this end gave up the remote.
func (c *splice) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}
