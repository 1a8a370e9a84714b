//go:build !windows

package wsep_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
)

const startCatWithEcho = `{"type":"start","command":{"command":"cat","stdin":true},"extensions":{"outcome":true,"echo":true}}`

func TestEcho(t *testing.T) {
	c := dialRaw(t, newServer(t, &wsep.Handler{}))
	c.send(startCatWithEcho)
	pid, err := c.read()
	require.NoError(t, err)
	require.Equal(t, true, pid.Extensions["echo"])
	for _, n := range []int64{1, 7, 1<<53 - 1} {
		c.send(fmt.Sprintf(`{"type":"echo","n":%d}`, n))
		require.Equal(t, n, c.readEcho())
	}
	c.send(`{"type":"echo"}`, `{"type":"close_stdin"}`)
	require.Zero(t, c.readEcho(), "0 is no question")
}

// TestEchoUnasked: a server sends no echo to a client that does not offer the extension.
func TestEchoUnasked(t *testing.T) {
	c := dialRaw(t, newServer(t, &wsep.Handler{}))
	c.send(startCat, `{"type":"echo","n":1}`, `{"type":"close_stdin"}`)
	require.Zero(t, c.readEcho())
}

func TestEchoBeforeStart(t *testing.T) {
	c := dialRaw(t, newServer(t, &wsep.Handler{}))
	c.send(`{"type":"echo","n":1}`)
	code, _ := c.closed()
	require.Equal(t, websocket.StatusProtocolError, code)
}

// TestEchoFlood: a client asks for many echoes and does not read. The server does not keep them all. The client gets the last.
func TestEchoFlood(t *testing.T) {
	c := dialRaw(t, newServer(t, &wsep.Handler{}))
	c.send(startCatWithEcho)
	_, err := c.read()
	require.NoError(t, err)
	before := runtime.NumGoroutine()
	const last = 20_000
	for n := range last {
		c.send(fmt.Sprintf(`{"type":"echo","n":%d}`, n+1))
	}
	require.Less(t, runtime.NumGoroutine(), before+10)
	for c.readEcho() != last {
	}
	c.send(`{"type":"stdin"}`+"\n"+"fine", `{"type":"close_stdin"}`)
	exit, out := c.result()
	require.Zero(t, exit.ExitCode)
	require.Equal(t, "fine", out)
}
