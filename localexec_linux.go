package wsep

import (
	"os"

	"golang.org/x/sys/unix"

	"cdr.dev/wsep/internal/readiness"
)

const (
	ioctlGetTermios = unix.TCGETS
	ioctlSetTermios = unix.TCSETS
)

// utf8Input is the mode of a terminal whose input is UTF-8: see termios(3), IUTF8.
const utf8Input = unix.IUTF8

// whenExited calls do on a new goroutine when a child process has exited. do waits for the process. This is cheaper than
// os.Process.Wait alone, which blocks a thread while the process runs. A thread costs more memory than everything else that an
// idle process needs. Where the system does not support that, it calls do at once.
func whenExited(p *os.Process, do func()) {
	watched := false
	_ = p.WithHandle(func(pidfd uintptr) {
		_, err := readiness.When(int(pidfd), do)
		watched = err == nil
	})
	if !watched {
		go do()
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
