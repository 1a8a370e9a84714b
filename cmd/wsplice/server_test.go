package main

import (
	"net"
	"net/http"
	"testing"

	"cdr.dev/slog"

	"cdr.dev/wsep/internal/idletest"
	"cdr.dev/wsep/wsplice"
)

// TestIdleConnectionsEnd has clients that do not ask for a WebSocket.
func TestIdleConnectionsEnd(t *testing.T) {
	for name, handler := range map[string]http.Handler{"clients": new(wsplice.Server), "profiles": profileMux()} {
		t.Run(name, func(t *testing.T) {
			idletest.Check(t, func(l net.Listener) { _ = httpServer(handler, slog.Logger{}).Serve(l) })
		})
	}
}
