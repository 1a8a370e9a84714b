//go:build !windows

package sshexec

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

// scriptedWarden is a warden that a test gives its orders itself.
type scriptedWarden struct {
	t      *testing.T
	temp   string // for its directories
	dir    string
	cmd    *exec.Cmd
	orders io.WriteCloser
}

// startScripted has a shell be the warden.
func startScripted(t *testing.T, shell []string) *scriptedWarden {
	t.Helper()
	m := newMark()
	w := &scriptedWarden{t: t, temp: t.TempDir()}
	w.cmd = exec.Command(shell[0], append(shell[1:], "-c", wardenScript, "sh", m.first, m.second, "")...)
	w.cmd.Env = append(os.Environ(), "TMPDIR="+w.temp)
	var err error
	w.orders, err = w.cmd.StdinPipe()
	require.NoError(t, err)
	answers, err := w.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, w.cmd.Start())
	answer, err := bufio.NewReader(answers).ReadString('\n')
	require.NoError(t, err)
	w.dir, err = roomAnswer(strings.TrimSpace(strings.TrimPrefix(answer, m.String())))
	require.NoError(t, err)
	return w
}

// end has it lose its connection, and waits until it has done its work.
func (w *scriptedWarden) end() {
	require.NoError(w.t, w.orders.Close())
	_ = w.cmd.Wait()
	left, err := os.ReadDir(w.temp)
	require.NoError(w.t, err)
	require.Empty(w.t, left)
}

// startSleeper starts a process with a group of its own. The channel is closed when it has ended.
func startSleeper(t *testing.T) (pid int, ended <-chan struct{}) {
	t.Helper()
	sleeper := exec.Command("sleep", "60")
	sleeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, sleeper.Start())
	over := make(chan struct{})
	// Ends with the process, with the test at the latest.
	go func() {
		defer close(over)
		_ = sleeper.Wait()
	}()
	t.Cleanup(func() {
		_ = sleeper.Process.Kill()
		<-over
	})
	return sleeper.Process.Pid, over
}

// TestWardenScript loses the connection, after orders about a command, in which %d is its PID.
func TestWardenScript(t *testing.T) {
	for _, tc := range []struct {
		name   string
		orders string
		file   bool // the command has one
		tidied bool // the directory is removed before the connection is lost
		ends   bool
	}{
		{name: "starts", file: true, ends: true},
		{name: "watched", file: true, orders: "- watch %d\n", ends: true},
		{name: "watched, tidied", file: true, orders: "- watch %d\n", tidied: true, ends: true},
		{name: "done", file: true, orders: "- watch %d\n- done %[1]d\n"},
		{name: "another is done", orders: "- watch 99999999\n- watch %d\n- done 99999999\n", ends: true},
	} {
		for _, shell := range [][]string{{"sh"}, {"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
			t.Run(tc.name+"/"+shell[0], func(t *testing.T) {
				if _, err := exec.LookPath(shell[0]); err != nil {
					t.Skipf("%s is not installed", shell[0])
				}
				t.Parallel()
				pid, ended := startSleeper(t)
				w := startScripted(t, shell)
				if tc.file {
					require.NoError(t, os.WriteFile(filepath.Join(w.dir, strconv.Itoa(pid)), nil, 0o600))
				}
				if tc.orders != "" {
					_, err := fmt.Fprintf(w.orders, tc.orders, pid)
					require.NoError(t, err)
				}
				if tc.tidied {
					require.NoError(t, os.RemoveAll(w.dir))
				}
				w.end()
				if !tc.ends {
					require.False(t, isClosed(ended))
					return
				}
				select {
				case <-ended:
				case <-time.After(patience):
					t.Fatal("the command still runs")
				}
			})
		}
	}
}

// requireGuarded has a command be within reach, also of what ends it when the connection is lost.
func requireGuarded(t *testing.T, p wsep.Process, lose func()) {
	t.Helper()
	require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "USR1"))
	require.Equal(t, "USR1", readLine(t, p.Stdout()))
	lose()
	requireGone(t, p.Pid())
}

// reporter is a command that tells of the signal USR1.
const reporter = `trap "echo USR1" USR1; echo; while :; do sleep 0.05; done`

// TestWardenForgotten has somebody tidy up the warden's directory.
func TestWardenForgotten(t *testing.T) {
	client := sshtest.Start(t).Dial(t)
	execer := newExecer(client)
	p := start(t, execer, sh(reporter))
	readLine(t, p.Stdout())
	w, _ := known(execer)
	for range 2 {
		_, gone := known(execer)
		require.NoError(t, os.RemoveAll(gone))
		require.NoError(t, start(t, execer, wsep.Command{Command: "true"}).Wait())
		same, dir := known(execer)
		require.Same(t, w, same)
		require.DirExists(t, dir)
	}
	requireGuarded(t, p, func() { _ = client.Close() })
}

// known returns the warden that an execer knows, and its directory.
func known(e *execer) (w *warden, dir string) {
	_ = e.guard.lock(context.Background())
	defer e.guard.unlock()
	return e.guard.warden, e.guard.warden.dir
}

// killWarden has the host lose the warden that an execer knows.
func killWarden(t *testing.T, e *execer) {
	t.Helper()
	_, dir := known(e)
	// What it is about to run looks like it for a moment, but is younger.
	found, err := exec.Command("pgrep", "-o", "-f", strings.TrimPrefix(filepath.Base(dir), "wsep-")).Output()
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(found)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

// TestWardenKilled has somebody kill the warden while a command runs. Another takes its place.
func TestWardenKilled(t *testing.T) {
	server := sshtest.Start(t)
	for name, end := range map[string]func(t *testing.T, e *execer, p wsep.Process, cancel func()){
		"signal": func(t *testing.T, e *execer, p wsep.Process, _ func()) {
			requireGuarded(t, p, func() { _ = e.client.Close() })
		},
		"close":  func(_ *testing.T, _ *execer, p wsep.Process, _ func()) { _ = p.Close() },
		"cancel": func(_ *testing.T, _ *execer, _ wsep.Process, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			execer := newExecer(server.Dial(t))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := execer.Start(ctx, sh(reporter))
			require.NoError(t, err)
			readLine(t, p.Stdout())
			killWarden(t, execer)
			end(t, execer, p, cancel)
			requireGone(t, p.Pid())
			_ = p.Wait()
		})
	}
}

// TestWardenReplaced has a warden be killed. Another takes its place, though nobody asks for it, and ends the command.
func TestWardenReplaced(t *testing.T) {
	execer := newExecer(sshtest.Start(t).Dial(t))
	p := start(t, execer, sh(reporter))
	readLine(t, p.Stdout())
	killed, _ := known(execer)
	killWarden(t, execer)
	require.Eventually(t, func() bool {
		w, _ := known(execer)
		return w != killed
	}, patience, 10*time.Millisecond)
	_ = execer.client.Close()
	requireGone(t, p.Pid())
}
