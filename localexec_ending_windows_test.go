package wsep

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWindowsCloseAsks: Close sends Ctrl-Break to the process's own group. A process that exits then is not killed, and one that does
// not is killed after KillDelay.
func TestWindowsCloseAsks(t *testing.T) {
	if !hasConsole() {
		t.Skip("this process has no console")
	}
	send := sendCtrlBreak
	defer func() { sendCtrlBreak = send }()
	self, err := os.Executable()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "wsep")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	gate := filepath.Join(dir, "gate")
	var asked []uint32

	p, err := LocalExecer{KillDelay: time.Minute}.Start(t.Context(), Command{Command: self, Args: []string{"helper", "late", gate}})
	require.NoError(t, err)
	sendCtrlBreak = func(group uint32) error {
		asked = append(asked, group)
		return os.WriteFile(gate, nil, 0o600)
	}
	require.NoError(t, p.Close())
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Equal(t, "late\n", string(out))
	require.NoError(t, p.Wait())
	require.Equal(t, []uint32{uint32(p.Pid())}, asked)

	sendCtrlBreak = func(uint32) error { return nil }
	const delay = 300 * time.Millisecond
	p, err = LocalExecer{KillDelay: delay}.Start(t.Context(), Command{Command: self, Args: []string{"helper", "idle"}})
	require.NoError(t, err)
	start := time.Now()
	require.NoError(t, p.Close())
	exit, ok := errors.AsType[ExitError](p.Wait())
	require.True(t, ok)
	require.Equal(t, "KILL", exit.Signal())
	require.GreaterOrEqual(t, time.Since(start), delay)
}
