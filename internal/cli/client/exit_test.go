package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/serve"
	"cdr.dev/wsep/internal/wsconn"
)

// TestExitCode tests exits that no process of this machine has. The scripts test the others.
func TestExitCode(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want int
	}{
		{"larger than the system's", wsep.NewExitError(256, "exit status 256"), 255},
		{"a Windows status", wsep.NewExitError(0xC0000005, "access violation"), 255},
		{"a signal without a name", wsep.NewExitError(-1, "signal: signal 64"), 255},
		{"a file that may not be executed", &wsep.StartError{Err: fs.ErrPermission}, 126},
		{"a refused token", &wsep.StartError{Err: fmt.Errorf("%w: %w", fs.ErrPermission, refusedToken(t))}, 255},
		{"no exit code", xerrors.New("an execer's own"), 255},
		{"a chain broken at the start", &wsep.StartError{Err: wsep.ErrDisconnected}, 255},
		{"a handshake that is refused", &wsep.StartError{Err: &wsconn.StatusError{Status: 401}}, 255},
		{"a connection that timed out by itself", fmt.Errorf("%w: %w", wsep.ErrDisconnected,
			context.DeadlineExceeded), 255},
		{"a code, and trouble afterwards", errors.Join(wsep.NewExitError(3, "exit status 3"), errLeft), 3},
	} {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, ExitCode(tc.err)) })
	}
}

// refusedToken returns a server's answer to a client without its token.
func refusedToken(t *testing.T) error {
	server := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}, Authorize: serve.Authorize("secret")})
	defer server.Close()
	_, err := wsep.Dialer{URL: server.URL}.Start(t.Context(), wsep.Command{Command: "true"})
	require.Error(t, err)
	return err
}

// TestWords tests exits that need words beside the exit code.
func TestWords(t *testing.T) {
	require.Equal(t, "command ended: signal: signal 64", words(wsep.NewExitError(-1, "signal: signal 64")))
	require.Empty(t, words(wsep.NewExitError(255, "exit status 255")))
	require.Empty(t, words(wsep.NewSignalError("KILL", "signal: killed")))
	require.Equal(t, "the server refused the token (401), or wants one", words(refusedToken(t)))
}
