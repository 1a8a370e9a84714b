package wsep_test

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
)

// TestWindowsSession leaves a session, which the server keeps itself, and returns to it. The screen comes again.
func TestWindowsSession(t *testing.T) {
	handler := &wsep.Handler{Execer: wsep.Again{}}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	e := wsep.Dialer{URL: server.URL}
	c := onConsole(program(t, "lines"))
	c.ID = "main"
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first, err := e.Start(ctx, c)
	require.NoError(t, err)
	readUntil(t, first.Stdout(), "ready")
	typeIn(t, first, "Grüße\r")
	readUntil(t, first.Stdout(), `got "Grüße"`)
	leave()
	require.Error(t, first.Wait())

	second := launch(t, e, c)
	readUntil(t, second.Stdout(), `got "Grüße"`)
	typeIn(t, second, "again\r")
	readUntil(t, second.Stdout(), `got "again"`)
	require.NoError(t, second.Stdin().Close())
	readUntil(t, second.Stdout(), "end of file")
	requireExitCode(t, second, 5)
}

// TestWindowsResume cuts the connection while 3 MB go through cat. Nothing is lost or comes twice.
func TestWindowsResume(t *testing.T) {
	server := httptest.NewServer(&wsep.Handler{Execer: wsep.Again{}})
	t.Cleanup(server.Close)
	proxy := cuttest.New(t, server.URL, func() cuttest.Plan { return cuttest.Plan{} })
	sent := bytes.Repeat([]byte("0123456789abcde\n"), 3<<20/16)
	p := launch(t, wsep.Dialer{URL: proxy.URL()}, program(t, "cat"))
	half := make([]byte, len(sent)/2)
	go func() {
		_, _ = p.Stdin().Write(sent)
		_ = p.Stdin().Close()
	}()
	_, err := io.ReadFull(p.Stdout(), half)
	require.NoError(t, err)
	proxy.CutAll(cuttest.Reset)
	rest, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, append(half, rest...)), "%d of %d bytes", len(half)+len(rest), len(sent))
	require.NoError(t, p.Wait())
	require.Greater(t, proxy.Connections(), int64(1))
}
