package serve

import (
	"context"
	"net"
	"net/http"
	"testing"

	"cdr.dev/slog"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/idletest"
	"cdr.dev/wsep/internal/timetest"
)

// TestAwaitIdle: a server that drains does not wait for connections whose commands have ended.
func TestAwaitIdle(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	handler := &wsep.Handler{Execer: wsep.LocalExecer{}, Server: wsep.NewServer()}
	server := Start(Listener{Listener: listener}, handler, handler.Server, slog.Logger{})
	d := wsep.Dialer{URL: server.URL(), IdleTimeout: 2 * timetest.Patience}
	defer d.CloseIdleConnections()
	for range 3 {
		_, err = wsep.Output(t.Context(), d, wsep.Command{Command: "true"})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), timetest.Patience)
		server.AwaitIdle(ctx)
		require.NoError(t, ctx.Err())
		cancel()
	}
	require.NoError(t, server.Close())
}

// TestIdleConnectionsEnd has clients that ask for no WebSocket.
func TestIdleConnectionsEnd(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no token", http.StatusUnauthorized) })
	idletest.Check(t, func(l net.Listener) { _ = httpServer(context.Background(), handler, slog.Logger{}).Serve(l) })
}
