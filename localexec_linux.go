package wsep

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"cdr.dev/wsep/internal/readiness"
)

const (
	ioctlGetTermios = unix.TCGETS
	ioctlSetTermios = unix.TCSETS
)

// utf8Input is the mode of a terminal whose input is UTF-8: see termios(3), IUTF8.
const utf8Input = unix.IUTF8

// exitWatch tells when a process exits. os.Process.Wait blocks a thread for as long as the process runs, which costs more
// memory than all else that an idle process needs.
type exitWatch struct{ pidfd int }

// newExitWatch prepares a command that has not started.
func newExitWatch(cmd *exec.Cmd) *exitWatch {
	w := &exitWatch{pidfd: -1}
	cmd.SysProcAttr.PidFD = &w.pidfd
	return w
}

// whenExited has do called, on a goroutine of its own, when the started process has exited, or at once where the system does
// not support that.
func (w *exitWatch) whenExited(do func()) {
	if w.pidfd < 0 {
		go do()
		return
	}
	exited := func() {
		_ = unix.Close(w.pidfd)
		do()
	}
	if _, err := readiness.When(w.pidfd, exited); err != nil {
		go exited()
	}
}

// widePipe is how much a pipe holds that carries much: as much as an unprivileged user may ask for (pipe(7),
// /proc/sys/fs/pipe-max-size). The wider, the fewer times do its two ends wait for each other.
const widePipe = 1 << 20

// widen lets a pipe hold more. The system may refuse: what is open of one user has a bound in all.
func widen(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, widePipe) })
}
