package wsep

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/xerrors"
)

// pipeSize is the size of a pipe's buffer in bytes, as on Linux.
const pipeSize = 64 << 10

// newPipe makes a pipe. This process's end is asynchronous, so that a read or a write can be interrupted. It is for writing if
// write is set.
func newPipe(write bool) (our *os.File, child windows.Handle, err error) {
	ours, theirs := uint32(windows.PIPE_ACCESS_INBOUND), uint32(windows.GENERIC_WRITE)
	if write {
		// The right to write attributes lets a program choose that its reads do not wait, as with CreatePipe.
		ours, theirs = windows.PIPE_ACCESS_OUTBOUND, windows.GENERIC_READ|windows.FILE_WRITE_ATTRIBUTES
	}
	path := `\\.\pipe\wsep-` + rand.Text()
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, 0, err
	}
	h, err := windows.CreateNamedPipe(name, ours|windows.FILE_FLAG_OVERLAPPED|windows.FILE_FLAG_FIRST_PIPE_INSTANCE,
		windows.PIPE_TYPE_BYTE|windows.PIPE_REJECT_REMOTE_CLIENTS, 1, pipeSize, pipeSize, 0, nil)
	if err != nil {
		return nil, 0, xerrors.Errorf("create pipe: %w", err)
	}
	child, err = windows.CreateFile(name, theirs, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		_ = windows.CloseHandle(h)
		return nil, 0, xerrors.Errorf("open pipe: %w", err)
	}
	return os.NewFile(uintptr(h), path), child, nil
}

// localOutput reads an output of a local process. It closes the handle at the output's end, even if nothing reads until there.
type localOutput struct {
	ended func() // called once, when the output has ended

	mu   sync.Mutex // held during a read; guards what follows
	f    *os.File   // nil when closed
	rest []byte     // what has been read and not returned
	lost error      // why nothing follows rest, if that is not the output's end

	file    *os.File    // f, for interrupting a read without the lock
	dropped atomic.Bool // close has been called
}

func newLocalOutput(f *os.File) *localOutput { return &localOutput{f: f, file: f} }

// Read implements io.Reader.
func (o *localOutput) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, err := o.read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		// Another method has interrupted this read, and now takes the lock.
	}
}

func (o *localOutput) read(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil && o.dropped.Load() {
		o.discard() // close waits for the lock.
	}
	if len(o.rest) > 0 {
		n := copy(b, o.rest)
		o.rest = o.rest[n:]
		return n, nil
	}
	if o.f == nil && o.lost != nil {
		return 0, o.lost
	}
	if o.f == nil {
		return 0, io.EOF
	}
	n, err := o.f.Read(b)
	if err == nil || n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	o.closeFile()
	if !endOfOutput(err) {
		return 0, xerrors.Errorf("read output: %w", err)
	}
	return 0, io.EOF
}

// endOfOutput reports whether an error of a read means that the output has ended.
func endOfOutput(err error) bool {
	return err == io.EOF || errors.Is(err, os.ErrClosed) ||
		errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_PIPE_NOT_CONNECTED)
}

// take interrupts a waiting read, and takes the lock. It reports false without the lock if the output has ended.
func (o *localOutput) take() bool {
	if o.file == nil {
		return false
	}
	_ = o.file.SetReadDeadline(time.Unix(0, 1))
	o.mu.Lock()
	if o.f == nil {
		o.mu.Unlock()
		return false
	}
	_ = o.f.SetReadDeadline(time.Time{})
	return true
}

// drain is called when the process has exited. It reads what the system holds of the output, and closes the handle if no other
// process holds the output. So a caller that does not read leaves no handle open.
func (o *localOutput) drain() {
	if !o.take() {
		return
	}
	defer o.mu.Unlock()
	if o.readHeld() {
		o.closeFile()
	}
}

// errOutputHeld says that the system did not end an output, and the rest of it is lost.
var errOutputHeld = xerrors.New("terminal did not end its output after the process's exit")

// drainToEnd reads the output to its end, and closes the handle. It stops after maxHeld bytes, which a caller then reads. It stops at
// the limit too, and then the output ends with errOutputHeld. It reports whether the output has ended by itself.
func (o *localOutput) drainToEnd(limit time.Duration) (ended bool) {
	if !o.take() {
		return !o.dropped.Load()
	}
	defer o.mu.Unlock()
	_ = o.f.SetReadDeadline(time.Now().Add(limit))
	buf := make([]byte, pipeSize)
	for len(o.rest) < maxHeld && !o.dropped.Load() {
		n, err := o.f.Read(buf)
		o.rest = append(o.rest, buf[:n]...)
		if err != nil {
			return o.endDrained(err)
		}
	}
	_ = o.f.SetReadDeadline(time.Time{})
	return false
}

// endDrained closes the handle after a failed read of drainToEnd. The lock is held.
func (o *localOutput) endDrained(err error) (ended bool) {
	if o.dropped.Load() {
		o.discard()
		return false
	}
	held := errors.Is(err, os.ErrDeadlineExceeded)
	if held {
		o.lost = errOutputHeld
	}
	o.closeFile()
	return !held
}

// end ends the output now, even if another process holds it. What has been written can still be read.
func (o *localOutput) end() {
	if o.take() {
		defer o.mu.Unlock()
		o.readHeld()
		o.closeFile()
	}
}

// close ends the output now. Unread bytes are dropped.
func (o *localOutput) close() {
	o.dropped.Store(true)
	if o.take() {
		defer o.mu.Unlock()
		o.discard()
	}
}

// discard drops what has not been returned, and closes the handle. The lock is held.
func (o *localOutput) discard() {
	o.rest = nil
	o.closeFile()
}

// maxHeld bounds, in bytes, what is read of an output before its caller asks for it. It is more than a pipe holds.
const maxHeld = 1 << 20

// readHeld reads what the system holds of the output, without waiting. It reports whether the output has ended. It reads at
// most maxHeld bytes, since a process that holds the output may go on writing. The lock is held.
func (o *localOutput) readHeld() (ended bool) {
	buf := make([]byte, pipeSize)
	for len(o.rest) < maxHeld {
		n, err := available(o.f)
		if err != nil {
			return true
		}
		if n == 0 {
			return false
		}
		read, err := o.f.Read(buf)
		o.rest = append(o.rest, buf[:read]...)
		if err != nil {
			return true
		}
	}
	return false
}

// closeFile closes the handle. The lock is held.
func (o *localOutput) closeFile() {
	_ = o.f.Close()
	o.f = nil
	o.ended()
}

var peekNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("PeekNamedPipe")

// available returns how many bytes can be read from a pipe at once. It returns an error if the pipe has ended.
func available(f *os.File) (n uint32, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := conn.Control(func(handle uintptr) {
		ok, _, errno := peekNamedPipe.Call(handle, 0, 0, 0, uintptr(unsafe.Pointer(&n)), 0)
		if ok == 0 {
			err = errno
		}
	})
	return n, errors.Join(err, controlErr)
}

// localStdin is the writing end of the pipe to a process's stdin.
type localStdin struct {
	process <-chan struct{} // closed when the process has exited

	f    *os.File
	once sync.Once
	err  error
}

// Write implements io.Writer.
func (s *localStdin) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // The reader would take an empty write for the end.
	}
	n, err := s.f.Write(b)
	if err != nil && isClosed(s.process) {
		err = xerrors.Errorf("write to stdin: %w", errProcessDone)
	}
	return n, err
}

// Close closes the pipe. Later calls return the same result.
func (s *localStdin) Close() error {
	s.once.Do(func() { s.err = s.f.Close() })
	return s.err
}
