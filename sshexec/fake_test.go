//go:build !windows

package sshexec

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

func TestRefusedChannel(t *testing.T) {
	t.Parallel()
	for reason, want := range map[ssh.RejectionReason]error{
		ssh.Prohibited:         fs.ErrPermission,
		ssh.ConnectionFailed:   wsep.ErrBusy,
		ssh.ResourceShortage:   wsep.ErrBusy,
		ssh.UnknownChannelType: errors.ErrUnsupported,
	} {
		t.Run(reason.String(), func(t *testing.T) {
			client := sshtest.Fake(t, func(c ssh.NewChannel) { _ = c.Reject(reason, "for no reason") })
			_, err := New(client).Start(t.Context(), wsep.Command{Command: "true"})
			require.ErrorIs(t, err, want)
			require.NotErrorIs(t, err, wsep.ErrDisconnected)
			_, ok := errors.AsType[*wsep.StartError](err)
			require.True(t, ok)
		})
	}
}

func TestNoExitStatus(t *testing.T) {
	t.Parallel()
	client := sshtest.Fake(t, sshtest.Session{KeepExit: true}.Open)
	p := start(t, New(client), sh(`echo out; exit 0`))
	requireOutput(t, "out\n", p.Stdout())
	requireNoExit(t, p.Wait())
}

func TestRefusedTerminal(t *testing.T) {
	t.Parallel()
	client := sshtest.Fake(t, sshtest.Session{}.Open)
	_, err := New(client).Start(t.Context(), wsep.Command{Command: "true", TTY: true})
	require.ErrorContains(t, err, "pty-req")
	_, ok := errors.AsType[*wsep.StartError](err)
	require.True(t, ok)
}

func TestRefusedExec(t *testing.T) {
	t.Parallel()
	client := sshtest.Fake(t, sshtest.Session{Refuse: []string{"exec"}}.Open)
	_, err := New(client).Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorContains(t, err, "exec")
}

// TestSilentShell has a login's shell that starts nothing. The start of a command fails after the guard's limit.
func TestSilentShell(t *testing.T) {
	execer := newExecer(sshtest.Fake(t, silentOnce()), unlimited)
	execer.guard.limit = 100 * time.Millisecond
	_, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorContains(t, err, "has started nothing")
	_, ok := errors.AsType[*wsep.StartError](err)
	require.True(t, ok)
	execer.guard.limit = wardenLimit
	require.NoError(t, start(t, execer, wsep.Command{Command: "true"}).Wait())
}

// TestSilentShellCancel cancels starts while a warden is being started. The warden's goroutines are all that is left.
func TestSilentShellCancel(t *testing.T) {
	execer := newExecer(sshtest.Fake(t, silentOnce()), unlimited)
	giveUp := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, err := execer.Start(ctx, wsep.Command{Command: "true"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	giveUp()
	before := runtime.NumGoroutine()
	// This is more than the goroutines of the warden's session. Some of them may not have started yet.
	const many = 50
	for range many {
		giveUp()
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+many }, testTimeout, 10*time.Millisecond)
}

// TestShellThatRefuses has a login that runs the warden, and no commands.
func TestShellThatRefuses(t *testing.T) {
	t.Parallel()
	sessions := 0
	client := sshtest.Fake(t, func(c ssh.NewChannel) {
		if sessions++; sessions == 1 {
			sshtest.Session{}.Open(c)
			return
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			_ = r.Reply(true, nil)
			_, _ = io.WriteString(channel, "This account is currently not available.\n")
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{1}))
			_ = channel.Close()
		}
	})
	_, err := New(client).Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorContains(t, err, "not available")
	require.NotErrorIs(t, err, wsep.ErrDisconnected)
}

// silentOnce returns a host that is silent in the first session, the warden's.
func silentOnce() func(ssh.NewChannel) {
	sessions := 0
	return func(c ssh.NewChannel) {
		if sessions++; sessions > 1 {
			sshtest.Session{}.Open(c)
			return
		}
		_, requests, err := c.Accept()
		if err != nil {
			return
		}
		// Ends with the session.
		go func() {
			for r := range requests {
				_ = r.Reply(true, nil)
			}
		}()
	}
}
