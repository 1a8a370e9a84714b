package fleet_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/wsplice"
)

// TestSpliced has a client reach the sessions of a fleet over one WebSocket, to a wsplice in front of a gateway.
func TestSpliced(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	allowed, err := wsplice.ParseAllowlist(f.gateways[0].address)
	require.NoError(t, err)
	var sockets atomic.Int32
	handler := &wsplice.Server{Allowed: allowed}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sockets.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	client, err := wsplice.Dial(f.ctx, server.URL, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	spliced := wsep.Dialer{Resume: -1, Dial: func(ctx context.Context) (wsep.Conn, error) {
		return client.Connect(ctx, "ws://"+f.gateways[0].address, nil)
	}}

	ids := []string{"one", "two", "three"}
	var held []wsep.Process
	tokens := map[string]string{}
	for _, id := range ids {
		p, err := spliced.Start(f.ctx, shell(id))
		require.NoError(t, err)
		held = append(held, p)
		tokens[id], err = bufio.NewReader(p.Stdout()).ReadString('\n')
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, sockets.Load())

	// The loss of the one WebSocket ends no session.
	require.NoError(t, client.Close())
	for _, p := range held {
		_ = p.Close()
		require.ErrorIs(t, p.Wait(), wsep.ErrDisconnected)
	}
	for _, id := range ids {
		require.Equal(t, tokens[id], f.requireToken(f.as("", 1), wsep.Command{ID: id}, wsep.SessionFound))
	}
}
