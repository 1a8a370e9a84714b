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

// opensAtCtrlBreak makes a Ctrl-Break write a file in place of the system's, which Wine 8 has not implemented. It returns the file's
// path, and the process groups that got one.
func opensAtCtrlBreak(t *testing.T) (gate string, asked *[]uint32) {
	t.Helper()
	require.True(t, hasConsole(), "run this test in a console")
	send := sendCtrlBreak
	t.Cleanup(func() { sendCtrlBreak = send })
	gate, asked = filepath.Join(helperDir(t), "gate"), new([]uint32)
	sendCtrlBreak = func(group uint32) error {
		*asked = append(*asked, group)
		return os.WriteFile(gate, nil, 0o600)
	}
	return gate, asked
}

// TestWindowsCloseAsks: Close sends Ctrl-Break to the process's own group. A process that exits then is not killed.
func TestWindowsCloseAsks(t *testing.T) {
	gate, asked := opensAtCtrlBreak(t)
	p, err := Again{KillDelay: time.Minute}.Start(t.Context(), helperCommand(t, "late", gate))
	require.NoError(t, err)
	require.NoError(t, p.Close())
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Equal(t, "late\n", string(out))
	require.NoError(t, p.Wait())
	require.Equal(t, []uint32{uint32(p.Pid())}, *asked)
}

// TestWindowsCloseKills: a process that does not exit after Ctrl-Break is killed after KillDelay.
func TestWindowsCloseKills(t *testing.T) {
	_, asked := opensAtCtrlBreak(t)
	const delay = 300 * time.Millisecond
	p, err := Again{KillDelay: delay}.Start(t.Context(), helperCommand(t, "idle"))
	require.NoError(t, err)
	start := time.Now()
	require.NoError(t, p.Close())
	exit, ok := errors.AsType[ExitError](p.Wait())
	require.True(t, ok)
	require.Equal(t, "KILL", exit.Signal())
	require.GreaterOrEqual(t, time.Since(start), delay)
	require.Equal(t, []uint32{uint32(p.Pid())}, *asked)
}

// TestWindowsSignalAsks: INT and TERM send Ctrl-Break. A process that this has ended has exited with the signal.
func TestWindowsSignalAsks(t *testing.T) {
	for _, signal := range []string{"INT", "TERM"} {
		t.Run(signal, func(t *testing.T) {
			gate, asked := opensAtCtrlBreak(t)
			p, err := Again{}.Start(t.Context(), helperCommand(t, "interrupted", gate))
			require.NoError(t, err)
			require.NoError(t, p.(Signaler).Signal(t.Context(), signal))
			exit, ok := errors.AsType[ExitError](p.Wait())
			require.True(t, ok)
			require.Equal(t, signal, exit.Signal())
			require.Equal(t, []uint32{uint32(p.Pid())}, *asked)
		})
	}
}

// TestWindowsNoBreakForAnother: no Ctrl-Break is sent when the process's number may be another process's.
func TestWindowsNoBreakForAnother(t *testing.T) {
	_, asked := opensAtCtrlBreak(t)
	p, err := Again{}.Start(t.Context(), helperCommand(t, "exit", "0"))
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	local := p.(*localProcess)
	local.mu.Lock()
	defer local.mu.Unlock()
	require.ErrorIs(t, local.ask("TERM"), os.ErrProcessDone)
	require.Empty(t, *asked)
}
