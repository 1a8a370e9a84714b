//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package wsep

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

const ioctlGetTermios = unix.TIOCGETA

// exitWatch is for systems that tell when a process has exited.
type exitWatch struct{}

func newExitWatch(*exec.Cmd) *exitWatch { return &exitWatch{} }

func (*exitWatch) whenExited(do func()) { go do() }

// widen is for systems that let a pipe's size be changed.
func widen(*os.File) {}
