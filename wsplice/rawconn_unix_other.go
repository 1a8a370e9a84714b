//go:build unix && !linux

package wsplice

import "golang.org/x/sys/unix"

// writePieces writes the pieces one after another.
func writePieces(fd int, pieces [][]byte) (n int, err error) {
	for _, p := range pieces {
		k, err := unix.Write(fd, p)
		n += max(k, 0)
		switch {
		case err != nil && n > 0:
			return n, nil // The next call returns the error again.
		case err != nil:
			return 0, err
		case k < len(p):
			return n, nil
		}
	}
	return n, nil
}

// hangUp are the events of a connection that the other end has closed.
const hangUp = unix.POLLHUP | unix.POLLERR
