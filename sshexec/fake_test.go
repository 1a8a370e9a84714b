//go:build !windows

package sshexec

import (
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

func TestRefusedChannel(t *testing.T) {
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
	client := sshtest.Fake(t, sshtest.Session{KeepExit: true}.Open)
	p := start(t, New(client), sh(`echo out; exit 0`))
	requireOutput(t, "out\n", p.Stdout())
	requireNoExit(t, p.Wait())
}

func TestRefusedTerminal(t *testing.T) {
	client := sshtest.Fake(t, sshtest.Session{}.Open)
	_, err := New(client).Start(t.Context(), wsep.Command{Command: "true", TTY: true})
	require.ErrorContains(t, err, "pty-req")
	_, ok := errors.AsType[*wsep.StartError](err)
	require.True(t, ok)
}

func TestRefusedExec(t *testing.T) {
	client := sshtest.Fake(t, sshtest.Session{Refuse: []string{"exec"}}.Open)
	_, err := New(client).Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorContains(t, err, "exec")
}

// TestShellThatRefuses is a login that runs no commands, but lets the warden's session be.
func TestShellThatRefuses(t *testing.T) {
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
