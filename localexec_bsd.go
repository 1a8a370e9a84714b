//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package wsep

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

const (
	ioctlGetTermios = unix.TIOCGETA
	ioctlSetTermios = unix.TIOCSETA
)

// exitWatch is for systems that tell when a process has exited.
type exitWatch struct{}

func newExitWatch(*exec.Cmd) *exitWatch { return &exitWatch{} }

func (*exitWatch) whenExited(do func()) { go do() }

// widen is for systems that let a pipe's size be changed.
func widen(*os.File) {}

// signalMask is for systems that let a thread's mask be changed.
type signalMask struct{}

func threadMask() signalMask { return signalMask{} }

func (signalMask) blocked() []os.Signal { return nil }

func (signalMask) lift() {}

func (signalMask) restore() {}

// systemIgnores is for systems that tell which signals a process ignores.
func systemIgnores() (ignored signalSet, known bool) { return 0, false }
