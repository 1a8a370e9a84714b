// Package readiness calls back when a descriptor becomes readable, without a goroutine for each: a goroutine with its
// stack would be most of what an idle process costs.
package readiness

import "os"

// WhenReadable is When for a file.
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
