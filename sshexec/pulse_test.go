//go:build !windows

package sshexec

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"cdr.dev/wsep/internal/sshtest"
)

// TestSlowLink sends output over a slow link for several intervals of the keep-alives. Their answers come behind it.
// With Connect the connection is kept even if the output is not read.
func TestSlowLink(t *testing.T) {
	const (
		interval = 500 * time.Millisecond
		size     = 1 << 20
		rate     = 500 << 10
	)
	server := sshtest.Start(t)
	for name, tc := range map[string]struct {
		dial  func(context.Context, string, *ssh.ClientConfig) (*ssh.Client, error)
		pause time.Duration
	}{
		"read": {dial: func(_ context.Context, address string, config *ssh.ClientConfig) (*ssh.Client, error) {
			return ssh.Dial("tcp", address, config)
		}},
		"unread": {pause: size * time.Second / rate, dial: connect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := sshtest.NewProxy(t, server.Address)
			execer := Redial(func(ctx context.Context) (*ssh.Client, error) {
				return tc.dial(ctx, proxy.Address(), server.ClientConfig())
			})
			defer execer.Close()
			execer.interval = interval
			c := sh("read -r _; exec head -c 1048576 /dev/zero")
			c.Stdin = true
			p := start(t, execer, c)
			proxy.Throttle(rate)
			_, _ = io.WriteString(p.Stdin(), "\n")
			time.Sleep(tc.pause) // A client that reads late.
			n, err := io.Copy(io.Discard, p.Stdout())
			require.NoError(t, err)
			require.EqualValues(t, size, n)
			require.NoError(t, p.Wait())
		})
	}
}

// connect dials for a Redialer, with Connect.
func connect(ctx context.Context, address string, config *ssh.ClientConfig) (*ssh.Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return Connect(ctx, conn, address, config)
}
