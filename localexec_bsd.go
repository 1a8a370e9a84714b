//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package wsep

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	ioctlGetTermios = unix.TIOCGETA
	ioctlSetTermios = unix.TIOCSETA
)

// whenExited calls do on a new goroutine at once. Other systems tell when a process has exited.
func whenExited(_ *os.Process, do func()) { go do() }

// widen does nothing here. Other systems can change the size of a pipe.
func widen(*os.File) {}

// signalMask does nothing here. Other systems can change a thread's mask.
type signalMask struct{}

func threadMask() signalMask { return signalMask{} }

func (signalMask) blocked() []os.Signal { return nil }

func (signalMask) lift() {}

func (signalMask) restore() {}

// systemIgnores knows nothing here. Other systems tell which signals a process ignores.
func systemIgnores() (ignored signalSet, known bool) { return 0, false }
