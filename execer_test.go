//go:build !windows

package wsep_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/execertest"
)

// TestExecers runs the contract against every Execer of this package.
func TestExecers(t *testing.T) {
	// Signal returns when the request is sent, so that it can't tell what the peer makes of it.
	remote := execertest.Exclusions{"Signal/UnknownRefused": "asynchronous"}
	local := func(*testing.T) wsep.Execer { return wsep.LocalExecer{} }

	t.Run("Local", func(t *testing.T) {
		t.Parallel()
		execertest.Test(t, local, nil)
	})
	t.Run("Remote", func(t *testing.T) {
		t.Parallel()
		execertest.Test(t, func(t *testing.T) wsep.Execer {
			return connectionPerStart{url: serve(t, wsep.LocalExecer{})}
		}, remote)
	})
	t.Run("Dialer", func(t *testing.T) {
		t.Parallel()
		execertest.Test(t, func(t *testing.T) wsep.Execer {
			return wsep.Dialer{URL: serve(t, wsep.LocalExecer{})}
		}, remote)
	})
	t.Run("Chain", func(t *testing.T) {
		t.Parallel()
		execertest.Test(t, func(t *testing.T) wsep.Execer {
			inner := wsep.Dialer{URL: serve(t, wsep.LocalExecer{})}
			middle := wsep.Dialer{URL: serve(t, inner)}
			return wsep.Dialer{URL: serve(t, middle)}
		}, remote)
	})
}

// serve runs a Handler for the execer until the test ends, and returns its URL.
func serve(t *testing.T, execer wsep.Execer) string {
	srv := httptest.NewServer(&wsep.Handler{Execer: execer})
	t.Cleanup(srv.Close)
	return srv.URL
}

// connectionPerStart is an Execer that gives each command a RemoteExecer of its own.
type connectionPerStart struct{ url string }

// Start implements wsep.Execer.
func (c connectionPerStart) Start(ctx context.Context, command wsep.Command) (wsep.Process, error) {
	conn, _, err := websocket.Dial(ctx, c.url, nil)
	if err != nil {
		return nil, err
	}
	p, err := wsep.RemoteExecer(conn).Start(ctx, command)
	if err != nil {
		// Start refuses some commands before it touches the connection.
		_ = conn.CloseNow()
	}
	return p, err
}
