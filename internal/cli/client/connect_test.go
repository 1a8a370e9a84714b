package client

import (
	"encoding/pem"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/leaktest"
)

// TestEmbeddedServerIsPrivate connects to the embedded server as another user of this machine could.
func TestEmbeddedServerIsPrivate(t *testing.T) {
	execer, disconnect, err := connect(Options{Embedded: true}, new(notice))
	require.NoError(t, err)
	defer func() { require.NoError(t, disconnect()) }()
	command := wsep.Command{Command: "hostname"}

	p, err := execer.Start(t.Context(), command)
	require.NoError(t, err)
	require.NoError(t, p.Wait())

	stranger := execer.(wsep.Dialer)
	stranger.Header = nil
	_, err = stranger.Start(t.Context(), command)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "401")
}

// TestCA connects to a server with a certificate of an authority that only this client knows.
func TestCA(t *testing.T) {
	server := httptest.NewUnstartedServer(&wsep.Handler{Execer: wsep.LocalExecer{}})
	server.Config.ErrorLog = log.New(leaktest.OnlyPanics, "", 0) // The test makes handshakes that fail.
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(block), 0o600))
	url := strings.Replace(server.URL, "https:", "wss:", 1)
	for _, args := range [][]string{{"--ca", ca}, {}} {
		o, err := parse(append(append([]string{"notty", "--url", url}, args...), "true"), io.Discard)
		require.NoError(t, err)
		execer, _, err := connect(o, new(notice))
		require.NoError(t, err)
		p, err := execer.Start(t.Context(), o.Command)
		if len(args) == 0 {
			require.Equal(t, "the server's certificate is from an authority that is not trusted here", words(err))
			continue
		}
		require.NoError(t, err)
		require.NoError(t, p.Wait())
	}
}
