//go:build !windows

package sshexec

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

// TestStubbornChild checks that a child that ignores SIGTERM is killed when its parent is ended.
func TestStubbornChild(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host *sshtest.SSHD) {
		for name, end := range map[string]func(p wsep.Process, cancel func(), disconnect func() error){
			"close":  func(p wsep.Process, _ func(), _ func() error) { _ = p.Close() },
			"cancel": func(_ wsep.Process, cancel func(), _ func() error) { cancel() },
			"loss":   func(_ wsep.Process, _ func(), disconnect func() error) { _ = disconnect() },
		} {
			t.Run(name, func(t *testing.T) {
				client := host.Dial(t)
				p, cancel, child := startFamily(t, New(client))
				end(p, cancel, client.Close)
				requireNoProcess(t, child)
				requireNoProcess(t, p.Pid())
			})
		}
	})
}

// TestSignalOnce checks that a signal reaches each process of a group once.
func TestSignalOnce(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host *sshtest.SSHD) {
		const report = `trap "echo $NAME" USR1; echo ready; while :; do sleep 0.05; done`
		p := start(t, New(host.Dial(t)), sh(`(NAME=child; `+report+`) & NAME=parent; `+report))
		for range 2 {
			require.Equal(t, "ready", readLine(t, p.Stdout()))
		}
		signaler := p.(wsep.Signaler)
		for range 2 {
			require.NoError(t, signaler.Signal(t.Context(), "USR1"))
			got := []string{readLine(t, p.Stdout()), readLine(t, p.Stdout())}
			require.ElementsMatch(t, []string{"parent", "child"}, got)
		}
	})
}

// TestSignalNames sends signals that some shells do not know, or know by another name, and one that Linux does not
// have.
func TestSignalNames(t *testing.T) {
	t.Parallel()
	onHosts(t, func(t *testing.T, host *sshtest.SSHD) {
		execer := New(host.Dial(t))
		for _, name := range []string{"PROF", "POLL", "IO", "CLD"} {
			p := start(t, execer, sh(`exec sleep 60`))
			require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), name), name)
			if name != "CLD" { // It is ignored.
				require.Error(t, p.Wait(), name) // Not every host names the signal.
			}
		}
		p := start(t, execer, sh(`exec sleep 60`))
		err := p.(wsep.Signaler).Signal(t.Context(), "LWP")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.NotErrorIs(t, err, os.ErrProcessDone)
	})
}

// TestNextSession opens a session right after another was dropped.
func TestNextSession(t *testing.T) {
	t.Parallel()
	execer := New(sshtest.StartDropbear(t).Dial(t))
	for range 40 {
		_, err := execer.Start(t.Context(), wsep.Command{Command: "/"})
		require.Error(t, err)
		out, err := run(t, execer, sh(`echo out`))
		require.NoError(t, err)
		require.Equal(t, "out\n", out)
	}
}

// TestLongLine has a line for which dropbear would close the connection.
func TestLongLine(t *testing.T) {
	t.Parallel()
	execer := New(sshtest.StartDropbear(t).Dial(t))
	long := wsep.Command{Command: "true", Args: []string{strings.Repeat("x", 40<<10)}}
	_, err := execer.Start(t.Context(), long)
	require.ErrorIs(t, err, wsep.ErrInvalidCommand)
	require.NoError(t, start(t, execer, wsep.Command{Command: "true"}).Wait())
}

// startFamily starts a command that exits at SIGTERM, with a child that ignores it. It returns the child's PID.
func startFamily(t *testing.T, e wsep.Execer) (p wsep.Process, cancel func(), child int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	p, err := e.Start(ctx, sh(`sh -c 'trap "" TERM HUP; echo $$; while :; do sleep 0.1; done' & wait`))
	require.NoError(t, err)
	child, err = strconv.Atoi(readLine(t, p.Stdout()))
	require.NoError(t, err)
	return p, cancel, child
}
