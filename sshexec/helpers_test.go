//go:build !windows

package sshexec

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

// hosts are kinds of SSH hosts.
var hosts = map[string]func(testing.TB) *sshtest.SSHD{
	"OpenSSH":         func(t testing.TB) *sshtest.SSHD { return sshtest.Start(t) },
	"OpenSSH/BusyBox": func(t testing.TB) *sshtest.SSHD { return sshtest.StartBusyBox(t) },
	"dropbear":        sshtest.StartDropbear,
}

func onHosts(t *testing.T, test func(t *testing.T, host *sshtest.SSHD)) {
	for name, start := range hosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// run runs a command and returns its output.
func run(t *testing.T, e wsep.Execer, c wsep.Command) (string, error) {
	p, err := e.Start(t.Context(), c)
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(p.Stdout())
	if err != nil {
		return "", err
	}
	return string(out), p.Wait()
}

// shell is a session with a shell.
var shell = wsep.Command{ID: "shell", Command: "sh", TTY: true, Stdin: true, Env: []string{"PS1=", "ENV="}}

// testTimeout is how long a test waits for an event that should happen at once.
const testTimeout = 20 * time.Second

func sh(script string) wsep.Command { return wsep.Command{Command: "sh", Args: []string{"-c", script}} }

func start(t *testing.T, e wsep.Execer, c wsep.Command) wsep.Process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := e.Start(ctx, c)
	if err != nil {
		cancel()
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		_ = p.Wait()
	})
	return p
}

// readLine reads a line and no more.
func readLine(t *testing.T, r io.Reader) string { return strings.TrimSpace(readUntil(t, r, '\n')) }

// readUntil reads up to a character. It returns the text before it.
func readUntil(t *testing.T, r io.Reader, end byte) string {
	t.Helper()
	var text strings.Builder
	for b := make([]byte, 1); ; text.Write(b) {
		_, err := io.ReadFull(r, b)
		require.NoError(t, err)
		if b[0] == end {
			return text.String()
		}
	}
}

func requireOutput(t *testing.T, want string, r io.Reader) {
	t.Helper()
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, want, string(out))
}

func requireNoExit(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, wsep.ErrDisconnected)
	_, exited := errors.AsType[wsep.ExitError](err)
	require.False(t, exited)
}

func requireNoProcess(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) },
		testTimeout, 10*time.Millisecond, "process %d still runs", pid)
}

func redialer(t *testing.T, server *sshtest.SSHD, proxy *sshtest.Proxy) *Redialer {
	r := Redial(func(ctx context.Context) (*ssh.Client, error) {
		return ssh.Dial("tcp", proxy.Address(), server.ClientConfig())
	})
	t.Cleanup(func() { _ = r.Close() })
	return r
}
