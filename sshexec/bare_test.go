//go:build !windows

package sshexec

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

// TestGivenUp gives up a start while the login's shell reads its startup files. These ignore SIGPIPE. The command must
// not run afterwards.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	file := func(name string) string { return filepath.Join(server.Home, name) }
	require.NoError(t, os.WriteFile(file(".bashrc"), []byte(`trap "" PIPE
if [ -e ~/slow ]; then while [ ! -e ~/go ]; do sleep 0.05; done; echo >~/over; fi
`), 0o600))
	execer := newExecer(server.Dial(t), unlimited)
	execer.grace = 0
	require.NoError(t, start(t, execer, wsep.Command{Command: "true"}).Wait())
	require.NoError(t, os.WriteFile(file("slow"), nil, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := execer.Start(ctx, sh(`echo >~/ran`))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireDropped(t, execer)
	require.NoError(t, os.WriteFile(file("go"), nil, 0o600))
	requireFile(t, file("over"))
	require.NoError(t, os.Remove(file("slow")))
	require.NoError(t, start(t, execer, sh(`sleep 0.5`)).Wait())
	require.NoFileExists(t, file("ran"))
}

// TestNoTemporaryDirectory has a host with an unusable TMPDIR.
func TestNoTemporaryDirectory(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"/no/such/directory", "relative", "/dev/null"} {
		execer := New(sshtest.Start(t, "SetEnv TMPDIR="+dir).Dial(t))
		require.NoError(t, start(t, execer, wsep.Command{Command: "true", WorkingDir: "/"}).Wait())
	}
}

// TestNoEnv has a host without the program env, which sets a command's variables.
func TestNoEnv(t *testing.T) {
	t.Parallel()
	tools := t.TempDir()
	for _, tool := range []string{"sh", "id", "od", "mkdir", "rm", "rmdir", "sleep"} {
		path, err := exec.LookPath(tool)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(tools, tool)))
	}
	execer := New(sshtest.Start(t, "SetEnv PATH="+tools).Dial(t))
	c := sh(`echo out`)
	requireOutput(t, "out\n", start(t, execer, c).Stdout())
	c.Env = []string{"NAME=value"}
	_, err := execer.Start(t.Context(), c)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "env")
	_, ok := errors.AsType[*wsep.StartError](err)
	require.True(t, ok)
}

// TestNoNull has a host without /dev/null, such as a bare chroot.
func TestNoNull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may take /dev/null away")
	}
	server := sshtest.Start(t,
		`ForceCommand exec unshare --mount sh -c 'mount -t tmpfs none /dev && exec sh -c "$SSH_ORIGINAL_COMMAND"'`)
	_, err := New(server.Dial(t)).Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorIs(t, err, errNoNull)
}

// requireDropped waits until two sessions have been closed and the host has processed that.
func requireDropped(t *testing.T, e *execer) {
	t.Helper()
	require.Eventually(t, func() bool {
		closes, _, _ := e.sessions.closed()
		return closes == 2
	}, testTimeout, 10*time.Millisecond)
	e.sessions.confirmAll()
}

func requireFile(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, testTimeout, 10*time.Millisecond)
}
