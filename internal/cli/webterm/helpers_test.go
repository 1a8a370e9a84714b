package webterm

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/serve"
)

var built = fstest.MapFS{
	"index.html": {Data: []byte("<title>page</title>")},
	"main.js":    {Data: []byte("1")},
}

// start serves the files. If the token is empty, clients need none.
func start(t *testing.T, files fs.FS, token string) (url string, handler *wsep.Handler) {
	handler = &wsep.Handler{Execer: wsep.LocalExecer{}, Server: wsep.NewServer()}
	if token != "" {
		handler.Authorize = serve.Authorize(token)
	}
	server := httptest.NewServer(New(handler, files))
	t.Cleanup(handler.Server.Close)
	t.Cleanup(server.Close)
	return server.URL, handler
}

// ask makes a request and returns the answer's status and body.
func ask(t *testing.T, method, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	if header != nil {
		req.Header = header
		req.Host = header.Get("Host")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

type execerFunc func(context.Context, wsep.Command) (wsep.Process, error)

func (f execerFunc) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	return f(ctx, c)
}
