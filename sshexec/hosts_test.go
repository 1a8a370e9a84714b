//go:build !windows

package sshexec

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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

// TestFragileHost has commands that exit just before others start, on a host that may close a connection then. A command that
// runs meanwhile is unharmed.
func TestFragileHost(t *testing.T) {
	t.Parallel()
	server := sshtest.StartDropbear(t)
	require.True(t, isFragile(server.Dial(t).ServerVersion()), "this dropbear has the fault no more: test another one")
	proxy := sshtest.NewProxy(t, server.Address)
	execer := redialer(t, server, proxy)
	unharmed := start(t, execer, wsep.Command{Command: "cat", Stdin: true})
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 5 {
				if out, err := run(t, execer, sh(`echo out`)); err != nil || out != "out\n" {
					t.Errorf("%q, %v", out, err)
				}
				if _, err := execer.Start(t.Context(), wsep.Command{Command: "/"}); !errors.Is(err, fs.ErrPermission) {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	require.LessOrEqual(t, proxy.Count(), 9)
	_, err := io.WriteString(unharmed.Stdin(), "unharmed\n")
	require.NoError(t, err)
	require.Equal(t, "unharmed", readLine(t, unharmed.Stdout()))
}

// TestConnectionsOfFragileHost has as many connections as a start makes without waiting elsewhere.
func TestConnectionsOfFragileHost(t *testing.T) {
	t.Parallel()
	server := sshtest.StartDropbear(t)
	proxy := sshtest.NewProxy(t, server.Address)
	execer := redialer(t, server, proxy)
	for range fewConnections {
		start(t, execer, sh(`sleep 60`))
	}
	require.Equal(t, fewConnections, proxy.Count())
	require.Zero(t, execer.reluctance(time.Now()))
}

func TestFragileVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3": false,
		"SSH-2.0-dropbear_0.52":                  false,
		"SSH-2.0-dropbear_2020.81":               false,
		"SSH-2.0-dropbear_2022.82":               true,
		"SSH-2.0-dropbear_2022.83":               true,
		"SSH-2.0-dropbear_2024.85-1":             true,
		"SSH-2.0-dropbear_2024.86":               false,
		"SSH-2.0-dropbear_2025.100":              false,
		"SSH-2.0-dropbear":                       true,
		"SSH-2.0-dropbear_x":                     true,
	} {
		require.Equal(t, want, isFragile([]byte(version)), version)
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
