package main

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// TestEmbeddedServerIsPrivate tries the embedded server as another user of this machine would.
func TestEmbeddedServerIsPrivate(t *testing.T) {
	execer, disconnect, err := connect(options{embedded: true})
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
