//go:build !windows

package plain

import "syscall"

// These are the system's errors of sockets.
const (
	errRefused   = syscall.ECONNREFUSED
	errNoHost    = syscall.EHOSTUNREACH
	errNoNetwork = syscall.ENETUNREACH
	errReset     = syscall.ECONNRESET
	errPipe      = syscall.EPIPE
	errInUse     = syscall.EADDRINUSE
	errNoAddress = syscall.EADDRNOTAVAIL
)
