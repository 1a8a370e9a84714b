//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package wsep

import "golang.org/x/sys/unix"

const ioctlGetTermios = unix.TIOCGETA
