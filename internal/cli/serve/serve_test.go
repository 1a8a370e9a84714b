package serve

import (
	"context"
	"net"
	"net/http"
	"testing"

	"cdr.dev/slog"

	"cdr.dev/wsep/internal/idletest"
)

// TestIdleConnectionsEnd has clients that ask for no WebSocket.
func TestIdleConnectionsEnd(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no token", http.StatusUnauthorized) })
	idletest.Check(t, func(l net.Listener) { _ = httpServer(context.Background(), handler, slog.Logger{}).Serve(l) })
}
