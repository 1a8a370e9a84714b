package wsep

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

// helperCommand is the command that runs the helper program.
func helperCommand(t *testing.T, args ...string) Command {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return Command{Command: self, Args: append([]string{"helper"}, args...)}
}

// helperDir is a directory of the test. Wine 8 does not delete all files, so that its removal may fail.
func helperDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wsep")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// requireGone waits for the end of a process that is about to end.
func requireGone(t *testing.T, number string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(number))
	require.NoError(t, err)
	process, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err == windows.ERROR_INVALID_PARAMETER {
		return // No process has this number.
	}
	require.NoError(t, err)
	defer windows.CloseHandle(process)
	const patience = 20 * time.Second
	state, err := windows.WaitForSingleObject(process, uint32(patience.Milliseconds()))
	require.NoError(t, err)
	require.EqualValues(t, windows.WAIT_OBJECT_0, state, "process %d goes on", pid)
}

// TestWindowsNothingRunsOutsideJob: a command does nothing before it is in its job.
func TestWindowsNothingRunsOutsideJob(t *testing.T) {
	assign := assignToJob
	defer func() { assignToJob = assign }()
	for _, tty := range []bool{false, true} {
		dir := helperDir(t)
		marker := filepath.Join(dir, "marker")
		c := helperCommand(t, "touch", marker)
		c.TTY = tty
		assignToJob = func(job, process windows.Handle) error {
			// A program that is started later has time to run to its end.
			later := helperCommand(t, "touch", filepath.Join(dir, "later"))
			require.NoError(t, exec.Command(later.Command, later.Args...).Run())
			require.NoFileExists(t, marker)
			return assign(job, process)
		}
		p, err := Again{}.Start(t.Context(), c)
		require.NoError(t, err)
		require.NoError(t, p.Wait())
		require.FileExists(t, marker)
	}
}

// TestWindowsRefusedByJob: a command that can't be put into its job does not run.
func TestWindowsRefusedByJob(t *testing.T) {
	assign := assignToJob
	defer func() { assignToJob = assign }()
	assignToJob = func(windows.Handle, windows.Handle) error { return windows.ERROR_ACCESS_DENIED }
	for _, tty := range []bool{false, true} {
		marker := filepath.Join(helperDir(t), "marker")
		c := helperCommand(t, "touch", marker)
		c.TTY = tty
		_, err := Again{}.Start(t.Context(), c)
		require.ErrorIs(t, err, windows.ERROR_ACCESS_DENIED)
		require.NoFileExists(t, marker)
	}
}

// TestWindowsCommandEndsWithOwner kills a program that has started a command. The system ends the command.
func TestWindowsCommandEndsWithOwner(t *testing.T) {
	c := helperCommand(t, "owner")
	owner := exec.CommandContext(t.Context(), c.Command, c.Args...)
	out, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	pid, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, owner.Process.Kill())
	requireGone(t, pid)
	require.Error(t, owner.Wait())
}

// TestWindowsWaitDelay ends outputs that a child holds. The child is killed. Otherwise it would run for a minute.
func TestWindowsWaitDelay(t *testing.T) {
	start := time.Now()
	p, err := Again{WaitDelay: 10 * time.Millisecond}.Start(t.Context(), helperCommand(t, "parent"))
	require.NoError(t, err)
	child, err := io.ReadAll(p.Stderr())
	require.NoError(t, err)
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Equal(t, 5, p.Wait().(ExitError).ExitCode(), "%s", out)
	requireGone(t, string(child))
	require.Less(t, time.Since(start), 50*time.Second)
}
