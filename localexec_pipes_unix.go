//go:build !windows

package wsep

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/readiness"
)

// The pipes of a local process, of which its output may also be a terminal.

// localOutput reads an output of a local process. It closes the descriptor at the output's end, whether anybody reads
// until there or not.
type localOutput struct {
	ended func() // called once, when the output has ended

	mu    sync.Mutex // held during a read; guards what follows
	f     *os.File   // nil when closed
	rest  []byte     // read ahead of the reader, when f has been closed
	ready func()     // makes the callback of whenReady, if that waits; otherwise nil

	widening widening

	file      *os.File // f, for those who interrupt a read
	closeOnce sync.Once
	closing   chan struct{} // closed by close
	// process, if set, is closed when the process has ended. Before that a terminal that nobody has open is not at its end:
	// the process may open it again, and to close it would hang up on the process.
	process <-chan struct{}
}

func newLocalOutput(f *os.File) *localOutput {
	return &localOutput{f: f, file: f, ended: func() {}, closing: make(chan struct{})}
}

// Read implements io.Reader.
func (o *localOutput) Read(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	if o.f == nil {
		return o.readRest(b)
	}
	n, err := o.read(b)
	if err == nil {
		if n >= busyPipe {
			o.widening.widen(o.f)
		}
		return n, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !isClosed(o.closing) {
		o.keepRest() // This read was interrupted by end.
		return o.readRest(b)
	}
	o.finish()
	if !endOfOutput(err) {
		return n, xerrors.Errorf("read output: %w", err)
	}
	return n, io.EOF
}

// read reads from the descriptor. A terminal that nobody has open is read until it has been opened again, or its process had
// ended before: what that wrote last may have come after the look that found nobody.
func (o *localOutput) read(b []byte) (int, error) {
	for {
		last := !o.mayReopen()
		n, err := o.f.Read(b)
		if last || !errors.Is(err, syscall.EIO) {
			return n, err
		}
		o.awaitReopening()
	}
}

// readRest reads what was kept of an output that has ended. The lock is held.
func (o *localOutput) readRest(b []byte) (int, error) {
	n := copy(b, o.rest)
	if o.rest = o.rest[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// whenReady has do called, on a goroutine of its own, when there is something to read, or the end.
func (o *localOutput) whenReady(do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil {
		if hurry, err := readiness.WhenReadable(o.f, do); err == nil {
			o.ready = hurry
			return
		}
	}
	go do()
}

// busyPipe is how much at once makes a pipe one that carries much, and that is worth widening.
const busyPipe = 32 << 10

// reopenInterval is how often a terminal that nobody has open is looked at. There is nothing to wait on for an opening.
const reopenInterval = 20 * time.Millisecond

// mayReopen reports whether a terminal that nobody has open may not be at its end.
func (o *localOutput) mayReopen() bool {
	return o.process != nil && !isClosed(o.process) && !isClosed(o.closing)
}

// awaitReopening waits a moment, or until there is nothing to wait for.
func (o *localOutput) awaitReopening() {
	t := time.NewTimer(reopenInterval)
	defer t.Stop()
	select {
	case <-o.process:
	case <-o.closing:
	case <-t.C:
	}
}

// endOfOutput reports whether an error is how the system, or this file, says that there is no more: EIO is a terminal's
// way.
func endOfOutput(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.EIO) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed)
}

// finish closes the descriptor. The lock is held.
func (o *localOutput) finish() {
	if o.ready != nil {
		o.ready()
	}
	_ = o.f.Close()
	o.f = nil
	o.widening.end()
	o.ended()
}

// settle is called when the process has ended. If nobody else holds the output, it takes what is left of it from the
// system and closes the descriptor, so that a caller who does not read leaves nothing open.
func (o *localOutput) settle() {
	if !hungUp(o.file) {
		return
	}
	o.mu.Lock() // A read does not wait any more.
	defer o.mu.Unlock()
	if o.f != nil {
		o.rest, _ = io.ReadAll(o.f)
		o.finish()
	}
}

// hungUp reports whether nobody holds the other end of a pipe or a terminal.
func hungUp(f *os.File) (hup bool) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	_ = conn.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		hup = err == nil && n == 1 && fds[0].Revents&unix.POLLHUP != 0
	})
	return hup
}

// end ends the output now, whoever holds it. What has been written can still be read.
func (o *localOutput) end() {
	o.interrupt()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil {
		o.keepRest()
	}
}

// interrupt ends a read that waits, and all that come later.
func (o *localOutput) interrupt() {
	if o.file != nil {
		_ = o.file.SetReadDeadline(time.Unix(0, 1))
	}
}

// maxHeld is as much as the system holds of an output: as much as the widest of pipes, and more than a terminal.
const maxHeld = 1 << 20

// keepRest takes what the system holds from it and closes the descriptor. Whoever holds the output may go on writing, so
// that there is a bound. The lock is held.
func (o *localOutput) keepRest() {
	if conn, err := o.f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) {
			buf := make([]byte, busyPipe)
			for len(o.rest) < maxHeld {
				n, err := unix.Read(int(fd), buf)
				if n <= 0 || err != nil {
					return
				}
				o.rest = append(o.rest, buf[:n]...)
			}
		})
	}
	o.finish()
}

// close ends the output now. What has not been read is dropped.
func (o *localOutput) close() {
	o.closeOnce.Do(func() { close(o.closing) })
	o.interrupt()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil {
		o.finish()
	}
}

// localStdin is the stdin of a local process.
type localStdin interface {
	io.WriteCloser
	// end is called when the process has ended. Writes fail from then on, also those that wait.
	end()
}

// stdinError returns what a write returns for the system's error, once process is closed if its process has ended.
func stdinError(err error, process <-chan struct{}) error {
	if err != nil && isClosed(process) {
		return xerrors.Errorf("write to stdin: %w", errProcessDone)
	}
	return err
}

// pipeStdin is the writing end of a process's stdin.
type pipeStdin struct {
	process <-chan struct{} // closed when the process has ended

	f      *os.File
	nowait *nowait
	close  sync.Once
	err    error

	widening widening
}

func newPipeStdin(f *os.File, process <-chan struct{}) *pipeStdin {
	return &pipeStdin{f: f, nowait: newNowait(f), process: process}
}

// Write implements io.Writer.
func (s *pipeStdin) Write(b []byte) (int, error) {
	if len(b) >= busyPipe {
		s.widening.widen(s.f)
	}
	n, err := s.f.Write(b)
	return n, stdinError(err, s.process)
}

// end implements localStdin.
func (s *pipeStdin) end() { _ = s.Close() }

// WriteNoWait implements flow.NowaitWriter.
func (s *pipeStdin) WriteNoWait(b []byte) int { return s.nowait.write(b) }

// Close closes the pipe, at the second call too without error.
func (s *pipeStdin) Close() error {
	s.close.Do(func() {
		s.err = s.f.Close()
		s.widening.end()
	})
	return s.err
}

// nowait writes to a file without waiting. It is not safe for concurrent use.
type nowait struct {
	conn syscall.RawConn
	p    []byte
	n    int
	once func(fd uintptr) bool // kept here so that a write costs no allocation
}

func newNowait(f *os.File) *nowait {
	w := &nowait{}
	w.conn, _ = f.SyscallConn() // It fails for nil alone.
	w.once = func(fd uintptr) bool {
		w.n, _ = unix.Write(int(fd), w.p)
		return true
	}
	return w
}

// write writes what can be written at once and returns how much it was.
func (w *nowait) write(p []byte) int {
	w.p, w.n = p, 0
	_ = w.conn.Write(w.once)
	w.p = nil
	return max(w.n, 0)
}

// maxWide bounds how many pipes are wide at once. A user without privileges has 64 MiB for all pipes by default, and beyond
// that each new one, whoever makes it, holds two pages (pipe(7), /proc/sys/fs/pipe-user-pages-soft).
const maxWide = 16

// wide is how many pipes are wide.
var wide atomic.Int32

// widening makes one pipe wide, if not too many are.
type widening struct {
	once    sync.Once
	counted bool
}

// widen is called when the pipe carries much.
func (w *widening) widen(f *os.File) {
	w.once.Do(func() {
		if wide.Add(1) > maxWide {
			wide.Add(-1)
			return
		}
		w.counted = true
		widen(f)
	})
}

// end is called once, when the pipe is closed.
func (w *widening) end() {
	w.once.Do(func() {})
	if w.counted {
		wide.Add(-1)
	}
}
