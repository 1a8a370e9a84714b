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

// exitWatch tells when a process exits. It is cheaper than os.Process.Wait, which blocks a thread while the process runs. A
// thread costs more memory than everything else that an idle process needs.
type exitWatch struct{ pidfd int }

// newExitWatch prepares a command for watching. It must be called before the start.
func newExitWatch(cmd *exec.Cmd) *exitWatch {
	w := &exitWatch{pidfd: -1}
	cmd.SysProcAttr.PidFD = &w.pidfd
	return w
}

// whenExited calls do on a new goroutine when the started process has exited. Where the system does not support that, it
// calls do at once.
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

// widePipe is the size of a wide pipe in bytes: the largest that an unprivileged user may set (pipe(7),
// /proc/sys/fs/pipe-max-size). The wider a pipe, the less often its two ends wait for each other.
const widePipe = 1 << 20

// widen makes a pipe wide. The system may refuse, since it bounds the total size of one user's pipes.
func widen(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, widePipe) })
}
