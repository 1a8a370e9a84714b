//go:build !windows

package wsep

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/xerrors"
)

// The terminal of a local process.

// terminal is the controlling end of a pseudo-terminal.
type terminal struct{ f *os.File }

// openTerminal opens a terminal. It returns the terminal and the child's end, which the credential's user owns.
func openTerminal(rows, cols uint16, cred *syscall.Credential) (t *terminal, child *os.File, err error) {
	control, child, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = child.Close()
		}
	}()
	f, err := pollable(control)
	if err != nil {
		return nil, nil, err
	}
	t = &terminal{f}
	if err = t.prepare(rows, cols); err == nil && cred != nil {
		err = child.Chown(int(cred.Uid), -1)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return t, child, nil
}

// pollable returns a file for f's descriptor that replaces f. Its reads and writes block no thread, and Close interrupts
// them. f itself is in blocking mode: the pty package makes it so.
func pollable(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, xerrors.Errorf("duplicate descriptor: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, xerrors.Errorf("set non-blocking: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// control calls f with the descriptor. It fails if the terminal is closed.
func (t *terminal) control(f func(fd int) error) (err error) {
	conn, err := t.f.SyscallConn()
	if err != nil {
		return err
	}
	if controlErr := conn.Control(func(fd uintptr) { err = f(int(fd)) }); controlErr != nil {
		return controlErr
	}
	return err
}

// prepare sets the size of a new terminal, and its mode for UTF-8.
func (t *terminal) prepare(rows, cols uint16) error {
	if err := t.resize(rows, cols); err != nil {
		return err
	}
	err := t.control(func(fd int) error {
		settings, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
		if err != nil {
			return err
		}
		if settings.Iflag&utf8Input == utf8Input {
			return nil
		}
		settings.Iflag |= utf8Input
		return unix.IoctlSetTermios(fd, ioctlSetTermios, settings)
	})
	if err != nil {
		return xerrors.Errorf("set terminal's modes: %w", err)
	}
	return nil
}

func (t *terminal) resize(rows, cols uint16) error {
	err := t.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if errors.Is(err, os.ErrClosed) {
		return errProcessDone
	}
	if err != nil {
		return xerrors.Errorf("resize terminal: %w", err)
	}
	return nil
}

// foreground returns the foreground process group, or 0 if there is none.
func (t *terminal) foreground() (pgid int) {
	_ = t.control(func(fd int) (err error) {
		pgid, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	return pgid
}

// terminalStdin writes to a terminal's input.
type terminalStdin struct {
	t       *terminal
	process <-chan struct{} // closed when the process has exited

	mu     sync.Mutex // held during a write; guards what follows
	nowait *nowait
	// midLine says that the last byte written does not end a line.
	midLine bool
	closed  bool
}

// Write implements io.Writer.
func (s *terminalStdin) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || isClosed(s.process) {
		return 0, stdinError(os.ErrClosed, s.process)
	}
	n, err := s.t.f.Write(b)
	s.typed(b[:n])
	return n, stdinError(err, s.process)
}

// end implements localStdin. The terminal belongs to the output.
func (s *terminalStdin) end() { _ = s.t.f.SetWriteDeadline(time.Unix(0, 1)) }

// WriteNoWait implements flow.NowaitWriter.
func (s *terminalStdin) WriteNoWait(b []byte) int {
	if !s.mu.TryLock() {
		return 0
	}
	defer s.mu.Unlock()
	if s.closed || isClosed(s.process) {
		return 0
	}
	n := s.nowait.write(b)
	s.typed(b[:n])
	return n
}

// typed notes whether the last byte written ends a line. The lock is held.
func (s *terminalStdin) typed(b []byte) {
	if n := len(b); n > 0 {
		s.midLine = b[n-1] != '\n' && b[n-1] != '\r'
	}
}

// Close writes the terminal's end-of-file character. It leaves the terminal open: closing it would hang up.
func (s *terminalStdin) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	eof := []byte{s.t.eofChar()}
	if s.midLine {
		// The first character ends the line, the second is the end of file (POSIX, General Terminal Interface, EOF).
		eof = append(eof, eof[0])
	}
	_, err := s.t.f.Write(eof)
	if isClosed(s.process) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EIO) {
		return nil
	}
	return err
}

// eofChar returns the character that means end of file in the terminal, usually Ctrl-D.
func (t *terminal) eofChar() byte {
	char := byte(ctrlD)
	_ = t.control(func(fd int) error {
		settings, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
		if err == nil && settings.Cc[unix.VEOF] != 0 {
			char = settings.Cc[unix.VEOF]
		}
		return err
	})
	return char
}
