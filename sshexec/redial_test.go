//go:build !windows

package sshexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

// TestBurst starts many commands at once, on a host with OpenSSH's default for sessions.
func TestBurst(t *testing.T) {
	many := 200 // twice as many as fit on all connections
	if os.Getenv("WSEP_LONG_TESTS") != "" {
		many = 500
	}
	server := sshtest.Start(t, "MaxSessions 10")
	proxy := sshtest.NewProxy(t, server.Address)
	execer := redialer(t, server, proxy)
	execer.idle = time.Second
	outputs, errs := make([]string, many), make([]error, many)
	var running sync.WaitGroup
	for i := range many {
		running.Go(func() { outputs[i], errs[i] = run(t, execer, sh(fmt.Sprintf("echo %d", i))) })
	}
	running.Wait()
	for i := range many {
		require.NoError(t, errs[i])
		require.Equal(t, fmt.Sprintln(i), outputs[i])
	}
	require.LessOrEqual(t, proxy.Count(), fewConnections)
	requireNoConnections(t, proxy)
}

// TestLongBurst starts more commands than a few connections carry. None of them exits.
func TestLongBurst(t *testing.T) {
	const many = 2*fewConnections + 1
	server := sshtest.Start(t, "MaxSessions 3")
	proxy := sshtest.NewProxy(t, server.Address)
	execer := redialer(t, server, proxy)
	var starting sync.WaitGroup
	for range many {
		starting.Go(func() {
			_, err := execer.Start(t.Context(), sh(`sleep 60`))
			if err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	require.Equal(t, fewConnections+1, proxy.Count())
}

// TestOneSession has a host that allows no command beside the warden.
func TestOneSession(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, "MaxSessions 1")
	proxy := sshtest.NewProxy(t, server.Address)
	execer := redialer(t, server, proxy)
	var starting sync.WaitGroup
	for range 3 {
		starting.Go(func() {
			_, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
			if !errors.Is(err, wsep.ErrBusy) || !strings.Contains(err.Error(), "two sessions") {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	requireNoConnections(t, proxy)
}

// TestSessionThatEnds checks that a command waits until the host has closed the session before.
func TestSessionThatEnds(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, "MaxSessions 2")
	proxy := sshtest.NewProxy(t, server.Address)
	for name, execer := range map[string]wsep.Execer{
		"New":      New(server.Dial(t)),
		"Redialer": redialer(t, server, proxy),
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				p, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
				require.NoError(t, err)
				require.NoError(t, p.Wait())
			}
		})
	}
	require.Equal(t, 1, proxy.Count())
}

// TestProhibitedSurplus has a host that refuses the third session of a connection as prohibited.
func TestProhibitedSurplus(t *testing.T) {
	t.Parallel()
	dials := 0
	execer := Redial(func(context.Context) (*ssh.Client, error) {
		dials++
		sessions := 0
		return sshtest.Fake(t, func(c ssh.NewChannel) {
			if sessions++; sessions > 2 {
				_ = c.Reject(ssh.Prohibited, "administratively prohibited")
				return
			}
			sshtest.Session{}.Open(c)
		}), nil
	})
	defer execer.Close()
	for range 3 {
		_, err := execer.Start(t.Context(), sh(`sleep 60`))
		require.NoError(t, err)
	}
	require.Equal(t, 3, dials)
}

// requireNoConnections waits until the last connection is closed.
func requireNoConnections(t *testing.T, proxy *sshtest.Proxy) {
	t.Helper()
	require.Eventually(t, func() bool { return proxy.Open() == 0 }, testTimeout, 10*time.Millisecond)
}
