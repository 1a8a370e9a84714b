// Package readiness calls back when a descriptor becomes readable. One goroutine serves all descriptors: a goroutine
// for each, with its stack, would be most of the cost of an idle process.
package readiness

import "os"

// WhenReadable is [When] for a file.
func WhenReadable(f *os.File, do func()) (hurry func(), err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	failed := conn.Control(func(fd uintptr) { hurry, err = When(int(fd), do) })
	if failed != nil {
		return nil, failed
	}
	return hurry, err
}
