//go:build linux

package wsep_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
)

// resident returns a process's resident memory in bytes.
func resident(t *testing.T, pid int) (size int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range bytes.Lines(status) {
		if _, err := fmt.Sscanf(string(line), "VmRSS: %d kB", &size); err == nil {
			return size << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// TestUnreadOutputCostsAWindow: a client stops reading while output comes at full speed.
func TestUnreadOutputCostsAWindow(t *testing.T) {
	server, execer := serverProcess(t)
	for _, redirect := range []string{"", " >&2"} {
		t.Run("yes"+redirect, func(t *testing.T) {
			p, err := execer.Start(t.Context(), wsep.Command{Command: "sh", Args: []string{"-c", "exec yes" + redirect}})
			require.NoError(t, err)
			out := p.Stdout()
			if redirect != "" {
				out = p.Stderr()
			}
			const slack = 4 << 20 // for what the runtime keeps for later
			_, err = io.CopyN(io.Discard, out, 20<<20)
			require.NoError(t, err)
			here, there := heap(), resident(t, server.Process.Pid)
			for range 10 {
				time.Sleep(100 * time.Millisecond) // Without a window more would have come.
				require.Less(t, heap(), here+window+slack)
				require.Less(t, resident(t, server.Process.Pid), there+window+slack)
			}
			// Nothing of it is lost.
			_, err = io.CopyN(io.Discard, out, 20<<20)
			require.NoError(t, err)
			require.NoError(t, p.Close())
			require.Error(t, waitWithin(t, p, patience))
		})
	}
}

// TestFullStreamsHoldUpNothing: a program does not read its stdin, and its client does not read stderr.
func TestFullStreamsHoldUpNothing(t *testing.T) {
	t.Parallel()
	const keepAlive = time.Second
	execer := wsep.Dialer{URL: newServer(t, &wsep.Handler{Options: &wsep.Options{KeepAlive: keepAlive}})}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := execer.Start(ctx, wsep.Command{Command: "sh", Stdin: true, Args: []string{"-c", `
		yes >&2 &
		trap 'echo interrupted' INT
		echo up
		while :; do sleep 0.01; done`}})
	require.NoError(t, err)
	written := make(chan error, 1)
	go func() {
		_, err := p.Stdin().Write(make([]byte, 4*window))
		written <- err
	}()
	out := bufio.NewReader(p.Stdout())
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "up\n", line)
	// If no pings passed, the connection would be lost by now.
	time.Sleep(keepAlive * 5 / 2)
	require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "INT"))
	line, err = out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "interrupted\n", line)
	require.Empty(t, written)
	require.NoError(t, p.Close())
	require.Error(t, waitWithin(t, p, patience))
	timetest.Receive(t, written)
}

// slowCable carries one connection to an address at 1 Mbit/s in each direction. It returns its own address. While back is
// locked, no bytes come back.
func slowCable(t *testing.T, target string, back sync.Locker) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", strings.TrimPrefix(target, "http://"))
		if err != nil {
			_ = client.Close()
			return
		}
		// These end with the connection.
		go carrySlowly(client, server, back)
		go carrySlowly(server, client, new(sync.Mutex))
	}()
	return "http://" + listener.Addr().String()
}

func carrySlowly(to, from net.Conn, open sync.Locker) {
	defer to.Close()
	defer from.Close()
	const tick, rate = 10 * time.Millisecond, 1_000_000 / 8
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	buf := make([]byte, rate/int(time.Second/tick))
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		open.Lock()
		_, err = to.Write(buf[:n])
		open.Unlock()
		if err != nil {
			return
		}
		<-ticker.C
	}
}

// TestInterruptUnderFullOutput interrupts a program whose output fills a slow network. The interrupt does not wait for the
// output.
func TestInterruptUnderFullOutput(t *testing.T) {
	for _, tty := range []bool{true, false} {
		t.Run(fmt.Sprintf("terminal %t", tty), func(t *testing.T) {
			t.Parallel() // Only with the other one: this test itself is not parallel.
			timetest.Within(t, 200*time.Millisecond, func() time.Duration { return interruptUnderFullOutput(t, tty) })
		})
	}
}

// interruptUnderFullOutput returns how long the interrupt takes to reach the program.
func interruptUnderFullOutput(t *testing.T, tty bool) (took time.Duration) {
	t.Helper()
	var back sync.Mutex
	execer := wsep.Dialer{URL: slowCable(t, newServer(t, &wsep.Handler{}), &back)}
	file := filepath.Join(t.TempDir(), "interrupted")
	p, err := execer.Start(t.Context(), wsep.Command{
		Command: "sh", TTY: tty, Stdin: true,
		// The shell runs its trap after its current command.
		Args: []string{"-c", `trap ': >"$1"; exit 3' INT; yes`, "sh", file},
	})
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, p.Stdout()) }()
	time.Sleep(time.Second) // Now all buffers are full.
	back.Lock()
	began := time.Now()
	if tty {
		_, err = p.Stdin().Write([]byte{3})
	} else {
		err = p.(wsep.Signaler).Signal(t.Context(), "INT")
	}
	interrupted := assert.Eventually(t, func() bool { return exists(file) }, patience, time.Millisecond)
	took = time.Since(began)
	back.Unlock()
	require.NoError(t, err)
	require.True(t, interrupted)
	if longTests {
		// The exit comes after all the output.
		var exit wsep.ExitError
		require.ErrorAs(t, waitWithin(t, p, time.Minute), &exit)
		require.Equal(t, 3, exit.ExitCode())
	}
	require.NoError(t, p.Close())
	return took
}
