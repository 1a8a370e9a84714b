package wsplice

import "golang.org/x/sys/unix"

// maxPieces is how many pieces one system call takes (IOV_MAX).
const maxPieces = 1024

// writePieces writes the pieces with one system call.
func writePieces(fd int, pieces [][]byte) (int, error) {
	if len(pieces) == 1 {
		return unix.Write(fd, pieces[0])
	}
	return unix.Writev(fd, pieces[:min(len(pieces), maxPieces)])
}

// hangUp are the events of a connection that the other end has closed.
const hangUp = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR
