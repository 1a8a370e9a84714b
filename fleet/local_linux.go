package fleet

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// newPipe returns the two ends of a connection. The kernel buffers what is written. Without a buffer, both ends could wait for the
// other one to read: each of them answers pings in the goroutine that reads.
func newPipe() (ours, nodes net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	files := [2]*os.File{os.NewFile(uintptr(fds[0]), ""), os.NewFile(uintptr(fds[1]), "")}
	defer files[0].Close() // The connections have descriptors of their own.
	defer files[1].Close()
	if ours, err = net.FileConn(files[0]); err != nil {
		return nil, nil, err
	}
	if nodes, err = net.FileConn(files[1]); err != nil {
		_ = ours.Close()
		return nil, nil, err
	}
	return ours, nodes, nil
}
