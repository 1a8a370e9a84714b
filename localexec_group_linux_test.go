package wsep

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/timetest"
)

// TestReusedNumberIsAnothersGroup: after a process is reaped and its group is empty, another process may have its number.
func TestReusedNumberIsAnothersGroup(t *testing.T) {
	another := exec.Command("sleep", "60")
	another.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, another.Start())
	ended := make(chan error, 1)
	go func() { ended <- another.Wait() }() // Ends with the process.
	p := &localProcess{cmd: another, reaped: true}
	require.False(t, p.groupExists())
	p.signalGroups(syscall.SIGTERM)
	require.NoError(t, another.Process.Signal(syscall.SIGINT))
	require.EqualError(t, timetest.Receive(t, ended), "signal: interrupt", "it has got no other signal")
}
