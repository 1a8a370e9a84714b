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
	"cdr.dev/wsep/internal/wsconn"
)

// The pipes of a local process. Its output may also come from a terminal.

// localOutput reads an output of a local process. It closes the descriptor at the output's end, even if nothing reads until
// there.
type localOutput struct {
	ended func() // called once, when the output has ended

	mu    sync.Mutex // held during a read; guards what follows
	f     *os.File   // nil when closed
	rest  []byte     // what was read before f was closed and has not been returned
	ready func()     // calls the waiting callback of whenReady now; nil if none waits

	widening widening

	file      *os.File // f, for interrupting a read without the lock
	closeOnce sync.Once
	closing   chan struct{} // closed by close
	// process, if set, is closed when the process has exited. Before that a terminal that no process has open has not ended:
	// the process may open it again. Closing it would hang up on the process.
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
		o.keepRest() // end has interrupted this read.
		return o.readRest(b)
	}
	o.closeFile()
	if !endOfOutput(err) {
		return n, xerrors.Errorf("read output: %w", err)
	}
	return n, io.EOF
}

// read reads from the descriptor. While no process has a terminal open, it waits until one opens it again, or the process
// exits. After the exit it reads once more, since the process's last bytes may have come after the last read.
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

// readRest reads what is left of an output whose descriptor is closed. The lock is held.
func (o *localOutput) readRest(b []byte) (int, error) {
	n := copy(b, o.rest)
	if o.rest = o.rest[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// whenReady calls do on a new goroutine when the output has bytes to read or has ended.
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

// busyPipe is the number of bytes in one read or write that shows that a pipe carries much, and so is worth widening.
const busyPipe = 32 << 10

// reopenInterval is how often a terminal that no process has open is checked. The system has no event for its opening.
const reopenInterval = 20 * time.Millisecond

// mayReopen reports whether a process may still open a terminal again.
func (o *localOutput) mayReopen() bool {
	return o.process != nil && !isClosed(o.process) && !isClosed(o.closing)
}

// awaitReopening waits for a moment. It returns early if the terminal can't be opened again.
func (o *localOutput) awaitReopening() {
	t := time.NewTimer(reopenInterval)
	defer t.Stop()
	select {
	case <-o.process:
	case <-o.closing:
	case <-t.C:
	}
}

// endOfOutput reports whether an error of a read means that the output has ended. A terminal returns EIO then.
func endOfOutput(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.EIO) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed)
}

// closeFile closes the descriptor. The lock is held.
func (o *localOutput) closeFile() {
	if o.ready != nil {
		o.ready()
	}
	_ = o.f.Close()
	o.f = nil
	o.widening.end()
	o.ended()
}

// drain is called when the process has exited. If no other process holds the output, drain reads the rest of it and closes
// the descriptor. So a caller that does not read leaves no descriptor open.
func (o *localOutput) drain() {
	if !hungUp(o.file) {
		return
	}
	o.mu.Lock() // No read waits now: the other end is closed.
	defer o.mu.Unlock()
	if o.f != nil {
		o.rest, _ = io.ReadAll(o.f)
		o.closeFile()
	}
}

// hungUp reports whether no process holds the other end of a pipe or a terminal.
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

// end ends the output now, even if another process holds it. What has been written can still be read.
func (o *localOutput) end() {
	o.interrupt()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil {
		o.keepRest()
	}
}

// interrupt makes the waiting read fail, and all later ones.
func (o *localOutput) interrupt() {
	if o.file != nil {
		_ = o.file.SetReadDeadline(time.Unix(0, 1))
	}
}

// maxHeld bounds, in bytes, what the system can hold of an output: as much as the widest pipe, and more than a terminal.
const maxHeld = 1 << 20

// keepRest reads what the system holds of the output and closes the descriptor. It reads at most maxHeld bytes, since a
// process that holds the output may go on writing. The lock is held.
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
	o.closeFile()
}

// close ends the output now. Unread bytes are dropped.
func (o *localOutput) close() {
	o.closeOnce.Do(func() { close(o.closing) })
	o.interrupt()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil {
		o.closeFile()
	}
}

// localStdin is the stdin of a local process.
type localStdin interface {
	io.WriteCloser
	// end is called when the process has exited. Waiting writes and later ones fail.
	end()
}

// stdinError returns what a write returns for the system's error. process is closed if the process has exited.
func stdinError(err error, process <-chan struct{}) error {
	if err != nil && isClosed(process) {
		return xerrors.Errorf("write to stdin: %w", errProcessDone)
	}
	return err
}

// pipeStdin is the writing end of the pipe to a process's stdin.
type pipeStdin struct {
	process <-chan struct{} // closed when the process has exited

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

// TakeFrom implements flow.Taker. Only a wide pipe takes bytes that way. A piece of a message takes a slot of a pipe, however small it
// is, and a narrow pipe has 16.
func (s *pipeStdin) TakeFrom(r io.Reader) (int, error) {
	body, ok := r.(*wsconn.Body)
	if !ok {
		return 0, nil
	}
	s.widening.widen(s.f)
	if !s.widening.counted {
		return 0, nil
	}
	return body.MoveTo(s.nowait.conn)
}

// Close closes the pipe. Later calls return the same result.
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
	once func(fd uintptr) bool // kept so that a write does not allocate
}

func newNowait(f *os.File) *nowait {
	w := &nowait{}
	w.conn, _ = f.SyscallConn() // It fails only for a nil file.
	w.once = func(fd uintptr) bool {
		w.n, _ = unix.Write(int(fd), w.p)
		return true
	}
	return w
}

// write writes as many bytes as the file takes at once, and returns how many.
func (w *nowait) write(p []byte) int {
	w.p, w.n = p, 0
	_ = w.conn.Write(w.once)
	w.p = nil
	return max(w.n, 0)
}

// maxWide bounds how many pipes are wide at a time. By default an unprivileged user has 64 MiB for all pipes. Above that
// each new pipe of the user, in any program, holds only two pages (pipe(7), /proc/sys/fs/pipe-user-pages-soft).
const maxWide = 16

// wide is the number of wide pipes.
var wide atomic.Int32

// widening makes one pipe wide, unless maxWide pipes are.
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
