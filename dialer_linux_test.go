package wsep_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// TestDialerConnectsAnew: a refused handshake leaves a connection that later dies silently. The next start does not use it.
func TestDialerConnectsAnew(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/exec", &wsep.Handler{Execer: wsep.LocalExecer{}, Options: &wsep.Options{ResumeTimeout: -1}})
	site := httptest.NewServer(mux)
	defer site.Close()
	for name, client := range map[string]*http.Client{
		"default": nil,
		"own":     {Transport: &http.Transport{}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cable := newCable(t, site.URL)
			_, err := wsep.Dialer{URL: cable.url() + "/page", HTTPClient: client}.Start(ctx, wsep.Command{Command: "true"})
			require.ErrorContains(t, err, "200 OK")
			cable.mute()

			p, err := wsep.Dialer{URL: cable.url() + "/exec", HTTPClient: client}.Start(ctx, wsep.Command{Command: "true"})
			require.NoError(t, err)
			require.NoError(t, p.Wait())
			require.NoError(t, p.Close())
		})
	}
}
