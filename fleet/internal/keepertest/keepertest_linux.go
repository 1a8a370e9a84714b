// Package keepertest ends the keepers of tests.
package keepertest

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// patience is how long a keeper may take to end.
const patience = 30 * time.Second

// End ends the keepers of a directory, and all that they keep.
func End(t testing.TB, dir string) {
	t.Helper()
	sockets, err := filepath.Glob(filepath.Join(dir, "keeper-*"))
	require.NoError(t, err)
	for _, socket := range sockets {
		pid, err := listenerOf(socket)
		if err != nil {
			continue // It has ended by itself.
		}
		require.NoError(t, unix.Kill(pid, unix.SIGTERM))
		require.Eventually(t, func() bool { return unix.Kill(pid, 0) == unix.ESRCH }, patience, 10*time.Millisecond)
	}
}

// listenerOf returns the process that listens at a socket.
func listenerOf(socket string) (pid int, err error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	_ = raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}
