//go:build !windows

package sshhost

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/sshtest"
)

// TestMain fails the package if its tests leave goroutines, descriptors or processes behind.
func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is how long a test waits for what is to happen at once, on a machine that is busy.
const patience = 20 * time.Second

// dial connects and closes the connection.
func dial(ctx context.Context, t *testing.T, h *Host) error {
	t.Helper()
	result := make(chan error, 1)
	// Ends when Dial does.
	go func() {
		client, err := h.Dial(ctx)
		if err == nil {
			_ = client.Close()
		}
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(patience):
		t.Fatal("Dial goes on")
		return nil
	}
}

// TestSilentAgent is an agent that asks its user, who is away.
func TestSilentAgent(t *testing.T) {
	server := sshtest.Start(t)
	for name, answers := range map[string]int{"asked for keys": 0, "asked to sign": 1} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			t.Setenv("SSH_AUTH_SOCK", silentAgent(t, server.Agent(t), answers, cancel))
			h, err := New(server.User+"@"+server.Address, "", server.KnownHosts)
			require.NoError(t, err)
			require.ErrorIs(t, dial(ctx, t, h), context.Canceled)
		})
	}
}

// silentAgent runs an agent that passes on as many answers of another, and then says no more and calls silent. It
// returns its socket.
func silentAgent(t *testing.T, other string, answers int, silent func()) (socket string) {
	socket = filepath.Join(filepath.Dir(other), "silent")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	served := make(chan struct{})
	// Ends with its client, with the test at the latest.
	go func() {
		defer close(served)
		asked, err := listener.Accept()
		if err != nil {
			return
		}
		defer asked.Close()
		defer context.AfterFunc(t.Context(), func() { _ = asked.Close() })()
		for range answers {
			passOn(t, asked, other)
		}
		_ = copyMessage(io.Discard, asked)
		silent()
		_, _ = io.Copy(io.Discard, asked)
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-served
	})
	return socket
}

// passOn has an agent answer a request.
func passOn(t *testing.T, asked net.Conn, agent string) {
	conn, err := net.Dial("unix", agent)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = copyMessage(conn, asked)
	_ = copyMessage(asked, conn)
}

// copyMessage copies a message of the agent's protocol, which begins with its length.
func copyMessage(dst io.Writer, src io.Reader) error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(src, head); err != nil {
		return err
	}
	if _, err := dst.Write(head); err != nil {
		return err
	}
	_, err := io.CopyN(dst, src, int64(binary.BigEndian.Uint32(head)))
	return err
}
