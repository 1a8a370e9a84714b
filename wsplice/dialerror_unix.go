//go:build !windows

package wsplice

import "syscall"

// errRefused is the system's error if nothing listens at an address.
const errRefused = syscall.ECONNREFUSED
