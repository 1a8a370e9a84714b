//go:build !windows

package sshexec

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// shells are the programs that /bin/sh may be.
var shells = [][]string{{"sh"}, {"dash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"mksh"}, {"zsh", "--emulate", "sh"}}

// TestWardenScript gives orders about a command, and then loses the connection. %d is the command's PID.
func TestWardenScript(t *testing.T) {
	t.Parallel()
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
		{name: "another process", orders: "- watch %d\n- reaped %[1]d\n"},
		{name: "another command", orders: "- watch %d\n- watch %[1]d\n- reaped %[1]d\n", ends: true},
		{name: "done", file: true, orders: "- watch %d\n- reaped %[1]d\n- done %[1]d\n"},
		{
			name:   "another is done",
			orders: "- watch 99999999\n- watch %d\n- reaped 99999999\n- done 99999999\n",
			ends:   true,
		},
	} {
		for _, shell := range shells {
			t.Run(tc.name+"/"+shell[0], func(t *testing.T) {
				t.Parallel()
				w := startScripted(t, shell)
				pid, ended := startSleeper(t)
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
				case <-time.After(testTimeout):
					t.Fatal("the command still runs")
				}
			})
		}
	}
}

// TestWardenScriptReaped checks that the rest of a group is ended after its leader has exited.
func TestWardenScriptReaped(t *testing.T) {
	t.Parallel()
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			w := startScripted(t, shell)
			leader := exec.Command("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
			leader.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := leader.Output()
			require.NoError(t, err)
			member, err := strconv.Atoi(strings.TrimSpace(string(out)))
			require.NoError(t, err)
			_, err = fmt.Fprintf(w.orders, "- watch %d\n- reaped %[1]d\n", leader.Process.Pid)
			require.NoError(t, err)
			w.end()
			requireNoProcess(t, member)
		})
	}
}

// TestReusedPID checks that a lost connection does not end a process with the number of a command that has exited.
func TestReusedPID(t *testing.T) {
	t.Parallel()
	client := sshtest.Start(t).Dial(t)
	execer := newExecer(client, unlimited)
	alive := filepath.Join(t.TempDir(), "alive")
	c := sh(`trap 'echo >"$ALIVE"' USR1; echo; while :; do sleep 0.05; done`)
	c.Env = []string{"ALIVE=" + alive}
	p := start(t, execer, c).(*process)
	readLine(t, p.Stdout())
	// For its connection the command has exited. Its session is still open, as when another process holds the output.
	p.ch.exit(nil)
	require.Eventually(t, func() bool {
		_ = execer.guard.lock(t.Context())
		defer execer.guard.unlock()
		return execer.guard.watched[p]
	}, testTimeout, 10*time.Millisecond)
	w, dir := known(execer)
	_, err := w.ask(t.Context(), "signal", strconv.Itoa(p.pid), "CONT") // The orders before have come.
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, fs.ErrNotExist)
	}, testTimeout, 10*time.Millisecond, "the warden has not done its work")
	defer syscall.Kill(p.pid, syscall.SIGKILL)
	require.NoError(t, syscall.Kill(p.pid, syscall.SIGUSR1))
	require.Eventually(t, func() bool {
		_, err := os.Stat(alive)
		return err == nil
	}, testTimeout, 10*time.Millisecond, "it has been ended")
}

// reporter is a command that prints a line at the signal USR1.
const reporter = `trap "echo USR1" USR1; echo; while :; do sleep 0.05; done`

// TestWardenForgotten removes the warden's directory, as a program that tidies /tmp does.
func TestWardenForgotten(t *testing.T) {
	t.Parallel()
	client := sshtest.Start(t).Dial(t)
	execer := newExecer(client, unlimited)
	p := start(t, execer, sh(reporter))
	readLine(t, p.Stdout())
	w, _ := known(execer)
	for range 2 {
		_, removed := known(execer)
		require.NoError(t, os.RemoveAll(removed))
		require.NoError(t, start(t, execer, wsep.Command{Command: "true"}).Wait())
		same, dir := known(execer)
		require.Same(t, w, same)
		require.DirExists(t, dir)
	}
	requireGuarded(t, p, func() { _ = client.Close() })
}

// TestWardenKilled kills the warden while a command runs. Another takes its place.
func TestWardenKilled(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	for name, end := range map[string]func(t *testing.T, e *execer, p wsep.Process, cancel func()){
		"signal": func(t *testing.T, e *execer, p wsep.Process, _ func()) {
			requireGuarded(t, p, func() { _ = e.client.Close() })
		},
		"close":  func(_ *testing.T, _ *execer, p wsep.Process, _ func()) { _ = p.Close() },
		"cancel": func(_ *testing.T, _ *execer, _ wsep.Process, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			execer := newExecer(server.Dial(t), unlimited)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := execer.Start(ctx, sh(reporter))
			require.NoError(t, err)
			readLine(t, p.Stdout())
			killWarden(t, execer)
			end(t, execer, p, cancel)
			requireNoProcess(t, p.Pid())
			_ = p.Wait()
		})
	}
}

// TestWardenReplaced kills a warden. Another takes its place without an order, and ends the command when the connection
// is lost.
func TestWardenReplaced(t *testing.T) {
	t.Parallel()
	execer := newExecer(sshtest.Start(t).Dial(t), unlimited)
	p := start(t, execer, sh(reporter))
	readLine(t, p.Stdout())
	killed, _ := known(execer)
	killWarden(t, execer)
	require.Eventually(t, func() bool {
		w, _ := known(execer)
		return w != killed
	}, testTimeout, 10*time.Millisecond)
	_ = execer.client.Close()
	requireNoProcess(t, p.Pid())
}

// TestChannelTimeout has a server that closes silent sessions. A warden with a command to watch must not lose its
// session.
func TestChannelTimeout(t *testing.T) {
	t.Parallel()
	execer := newExecer(sshtest.Start(t, "ChannelTimeout session:*=2s").Dial(t), unlimited)
	p := start(t, execer, sh(`for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.5; done`))
	first, _ := known(execer)
	requireOutput(t, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", p.Stdout())
	require.NoError(t, p.Wait())
	last, _ := known(execer)
	require.Same(t, first, last)
}

// TestWardenLost closes the warden's session alone. Another takes its place, and the command runs on until the
// connection is lost.
func TestWardenLost(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host *sshtest.SSHD) {
		execer := newExecer(host.Dial(t), unlimited)
		p := start(t, execer, sh(reporter))
		readLine(t, p.Stdout())
		for range 3 {
			lost, dir := known(execer)
			lost.ch.drop()
			require.Eventually(t, func() bool {
				w, _ := known(execer)
				return w != lost
			}, testTimeout, 10*time.Millisecond)
			require.Eventually(t, func() bool {
				_, err := os.Stat(dir)
				return errors.Is(err, fs.ErrNotExist)
			}, testTimeout, 10*time.Millisecond)
		}
		requireGuarded(t, p, func() { _ = execer.client.Close() })
	})
}

// TestWardenSlow has a warden that takes longer to start than endTimeout.
func TestWardenSlow(t *testing.T) {
	t.Parallel()
	execer := newExecer(sshtest.Start(t).Dial(t), unlimited)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	closed := start(t, execer, sh(reporter))
	canceled, err := execer.Start(ctx, sh(reporter))
	require.NoError(t, err)
	for _, p := range []wsep.Process{closed, canceled} {
		readLine(t, p.Stdout())
	}
	// The goroutine that starts a warden holds the token.
	require.NoError(t, execer.guard.lock(t.Context()))
	require.NoError(t, closed.Close())
	cancel()
	require.ErrorIs(t, canceled.Wait(), context.Canceled) // It returns after endTimeout.
	execer.guard.unlock()
	requireNoProcess(t, closed.Pid())
	requireNoProcess(t, canceled.Pid())
}

// scriptedWarden is a warden that gets its orders from a test.
type scriptedWarden struct {
	t      *testing.T
	temp   string // for its directories
	dir    string
	cmd    *exec.Cmd
	orders io.WriteCloser
}

// startScripted starts a warden in a shell.
func startScripted(t *testing.T, shell []string) *scriptedWarden {
	t.Helper()
	if _, err := exec.LookPath(shell[0]); err != nil {
		t.Skipf("%s is not installed", shell[0])
	}
	m := newMark()
	w := &scriptedWarden{t: t, temp: t.TempDir()}
	w.cmd = exec.Command(shell[0], append(shell[1:], "-c", wardenScript, "sh", m.first, m.second, "", "0")...)
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

// end closes the warden's stdin, as when the connection is lost, and waits until the warden exits.
func (w *scriptedWarden) end() {
	require.NoError(w.t, w.orders.Close())
	_ = w.cmd.Wait()
	left, err := os.ReadDir(w.temp)
	require.NoError(w.t, err)
	require.Empty(w.t, left)
}

// startSleeper starts a process with a group of its own. The channel is closed when it has exited.
func startSleeper(t *testing.T) (pid int, ended <-chan struct{}) {
	t.Helper()
	sleeper := exec.Command("sleep", "60")
	sleeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, sleeper.Start())
	exited := make(chan struct{})
	// Ends when the process exits, at the latest at the test's end.
	go func() {
		defer close(exited)
		_ = sleeper.Wait()
	}()
	t.Cleanup(func() {
		_ = sleeper.Process.Kill()
		<-exited
	})
	return sleeper.Process.Pid, exited
}

// requireGuarded checks that a command can be signaled, and that lose ends it.
func requireGuarded(t *testing.T, p wsep.Process, lose func()) {
	t.Helper()
	require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "USR1"))
	require.Equal(t, "USR1", readLine(t, p.Stdout()))
	lose()
	requireNoProcess(t, p.Pid())
}

// known returns an execer's warden, and its directory.
func known(e *execer) (w *warden, dir string) {
	_ = e.guard.lock(context.Background())
	defer e.guard.unlock()
	return e.guard.warden, e.guard.warden.dir
}

// killWarden kills an execer's warden.
func killWarden(t *testing.T, e *execer) {
	t.Helper()
	_, dir := known(e)
	// A child of it looks the same for a moment, but is younger.
	found, err := exec.Command("pgrep", "-o", "-f", strings.TrimPrefix(filepath.Base(dir), "wsep-")).Output()
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(found)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}
