//go:build unix

package proto

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOldSignal has processes that exit with a signal. os/exec reports that with the same text as a server of v0.2.4.
func TestOldSignal(t *testing.T) {
	// A program that was started in the background ignores some signals, and its children inherit that. They do not
	// ignore signals that the program handles.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(handled)
	for name, sig := range map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "ILL": syscall.SIGILL,
		"TRAP": syscall.SIGTRAP, "ABRT": syscall.SIGABRT, "BUS": syscall.SIGBUS, "FPE": syscall.SIGFPE,
		"KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1, "SEGV": syscall.SIGSEGV, "USR2": syscall.SIGUSR2,
		"PIPE": syscall.SIGPIPE, "ALRM": syscall.SIGALRM, "TERM": syscall.SIGTERM, "XCPU": syscall.SIGXCPU,
		"XFSZ": syscall.SIGXFSZ, "VTALRM": syscall.SIGVTALRM, "PROF": syscall.SIGPROF, "SYS": syscall.SIGSYS,
	} {
		cmd := exec.Command("sleep", "300")
		require.NoError(t, cmd.Start())
		require.NoError(t, cmd.Process.Signal(sig))
		err := cmd.Wait()
		require.Error(t, err)
		got := OldSignal(ExitCode{ExitCode: cmd.ProcessState.ExitCode(), Error: err.Error()})
		require.Equal(t, name, got, err.Error())
	}
}

func TestOldSignalOfOtherEnds(t *testing.T) {
	require.Equal(t, "SEGV", OldSignal(ExitCode{ExitCode: -1, Error: "signal: segmentation fault (core dumped)"}))
	for _, m := range []ExitCode{
		{ExitCode: 1, Error: "signal: killed"}, // It is the command's own exit code.
		{ExitCode: -1, Error: "exit status -1"},
		{ExitCode: -1, Error: "signal: signal 64"},
		{ExitCode: -1, Error: "killed"},
		{},
	} {
		require.Empty(t, OldSignal(m), "%+v", m)
	}
}
