//go:build !windows

package wsplice_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/execertest"
	"cdr.dev/wsep/wsplice"
)

var _ wsep.Conn = (*wsplice.Channel)(nil)

// TestExecer runs the contract of Execer over channels of one Client.
func TestExecer(t *testing.T) {
	host := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}})
	defer host.Close()
	allowed, err := wsplice.ParseAllowlist("127.0.0.1")
	require.NoError(t, err)
	splice := &wsplice.Server{Allowed: allowed}
	server := httptest.NewServer(splice)
	defer server.Close()
	client, err := wsplice.Dial(t.Context(), server.URL, nil)
	require.NoError(t, err)
	url := "ws" + strings.TrimPrefix(host.URL, "http")
	execertest.Test(t, func(*testing.T) wsep.Execer { return fleet{client, url} },
		// Signal returns when the request is sent, so that it can't tell what the peer makes of it.
		execertest.Exclusions{"Signal/UnknownRefused": "asynchronous"})
	require.NoError(t, client.Close())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, splice.Shutdown(ctx))
}

// fleet runs each command over a channel of its own.
type fleet struct {
	client *wsplice.Client
	url    string
}

func (f fleet) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	conn, err := f.client.Connect(ctx, f.url, nil)
	if err != nil {
		return nil, err
	}
	p, err := wsep.RemoteExecerConn(conn).Start(ctx, c)
	if err != nil {
		// Start refuses some commands before it touches the connection.
		_ = conn.CloseNow()
	}
	return p, err
}
