//go:build !windows

package wsep

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/xerrors"
)

// localProcess is a process of this machine.
type localProcess struct {
	cmd       *exec.Cmd
	exit      *exitWatch
	killDelay time.Duration

	stdin          io.WriteCloser
	stdout, stderr *localOutput
	tty            *terminal // nil without a terminal

	done   chan struct{} // closed when the process has been reaped and result is set
	result error

	gone chan struct{} // closed when the context has ended and nothing is left of the process's group

	mu       sync.Mutex // guards what follows
	ending   bool       // the process has been asked to end
	hungUp   bool       // its terminal has been hung up, after that
	killed   bool       // its group has been killed, after that
	canceled bool       // the context has ended
	cause    error      // the end of the context, if the process was running then
	open     int        // outputs that have not ended
	reaped   bool
	unbind   func() bool // detaches the process from its context
}

func (l LocalExecer) start(ctx context.Context, c Command) (Process, error) {
	cred, userEnv, err := credential(c.UID, c.GID)
	if err != nil {
		return nil, err
	}
	cmd, err := l.command(c, userEnv)
	if err != nil {
		return nil, missingProgram(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	p := &localProcess{
		cmd:       cmd,
		exit:      newExitWatch(cmd),
		killDelay: l.killDelay(),
		done:      make(chan struct{}),
		gone:      make(chan struct{}),
		open:      2,
	}
	if c.TTY {
		err = p.startTerminal(c)
	} else {
		err = p.startPipes(c)
	}
	if err != nil {
		return nil, missingProgram(err)
	}
	cmd.Args, cmd.Env = nil, nil // They are not small, and processes may live long.
	if l.ChildProcessPriority != nil {
		// The group, for the case that the process has forked already.
		_ = syscall.Setpriority(syscall.PRIO_PGRP, p.Pid(), *l.ChildProcessPriority)
	}
	p.stdout.ended, p.stderr.ended = p.outputEnded, p.outputEnded
	if p.tty != nil {
		p.outputEnded() // A terminal has no stderr.
	}
	p.bind(ctx)
	// Ends with the process.
	go p.reap(l.WaitDelay)
	return p, nil
}

const defaultKillDelay = time.Second

func (l LocalExecer) killDelay() time.Duration {
	if l.KillDelay <= 0 {
		return defaultKillDelay
	}
	return l.KillDelay
}

// missingProgram makes a missing program match exec.ErrNotFound and fs.ErrNotExist alike, whether it was named by a path
// or not found in PATH.
func missingProgram(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok && path.Op == "fork/exec" && errors.Is(err, os.ErrNotExist) {
		return &exec.Error{Name: path.Path, Err: notFoundError{path.Err}}
	}
	if errors.Is(err, exec.ErrNotFound) {
		return notFoundError{err}
	}
	return err
}

type notFoundError struct{ error }

func (e notFoundError) Unwrap() error { return e.error }

func (e notFoundError) Is(target error) bool {
	return target == exec.ErrNotFound || target == os.ErrNotExist
}

// startPipes starts the process with a pipe for each stream.
func (p *localProcess) startPipes(c Command) (err error) {
	var files []*os.File // the child's ends, and ours too if the start fails
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err != nil {
			err = xerrors.Errorf("create pipe: %w", err)
			return nil, nil
		}
		return r, w
	}
	outR, outW := pipe()
	errR, errW := pipe()
	files = append(files, outW, errW)
	ours := []*os.File{outR, errR}
	p.stdin = disabledStdin{}
	if c.Stdin {
		inR, inW := pipe()
		p.cmd.Stdin = inR
		p.stdin = newPipeStdin(inW)
		files, ours = append(files, inR), append(ours, inW)
	}
	if err == nil {
		p.cmd.Stdout, p.cmd.Stderr = outW, errW
		p.cmd.SysProcAttr.Setpgid = true
		err = p.cmd.Start()
	}
	closeAll(files)
	if err != nil {
		closeAll(ours)
		return err
	}
	p.stdout, p.stderr = newLocalOutput(outR), newLocalOutput(errR)
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// startTerminal starts the process in a terminal of its own.
func (p *localProcess) startTerminal(c Command) error {
	rows, cols := size(c)
	t, child, err := openTerminal(rows, cols, p.cmd.SysProcAttr.Credential)
	if err != nil {
		return xerrors.Errorf("open terminal: %w", err)
	}
	defer child.Close()
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = child, child, child
	p.cmd.SysProcAttr.Setsid = true
	p.cmd.SysProcAttr.Setctty = true
	if err := p.cmd.Start(); err != nil {
		_ = t.f.Close()
		return err
	}
	p.tty = t
	p.stdin = disabledStdin{}
	if c.Stdin {
		p.stdin = &terminalStdin{t: t, nowait: newNowait(t.f)}
	}
	p.stdout, p.stderr = newLocalOutput(t.f), newLocalOutput(nil)
	p.stdout.process = p.done
	return nil
}

// bind makes the process end with its context.
func (p *localProcess) bind(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unbind = context.AfterFunc(ctx, func() { p.contextEnded(ctx.Err()) })
	p.unbindIfOver()
}

// reap waits for the process and sees to its outputs.
func (p *localProcess) reap(waitDelay time.Duration) {
	p.exit.await()
	p.result = exitResult(p.cmd.Wait())
	p.mu.Lock()
	p.reaped = true
	if p.result == nil && p.cause != nil {
		// It was made to end, however well it took that.
		p.result = xerrors.Errorf("process ended with its context: %w", p.cause)
	}
	p.mu.Unlock()
	defer close(p.done) // Whoever has waited finds the descriptors closed.
	for _, out := range []*localOutput{p.stdout, p.stderr} {
		if !out.settle() && waitDelay > 0 {
			out.endAfter(waitDelay)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unbindIfOver()
}

// outputEnded counts an output that has ended.
func (p *localProcess) outputEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.unbindIfOver()
}

// unbindIfOver detaches the process from its context when nothing of it is left. The lock is held.
func (p *localProcess) unbindIfOver() {
	if p.over() && p.unbind != nil {
		p.unbind()
	}
}

// over reports whether nothing is left of the process: it has been reaped, and nobody holds its outputs. The lock is
// held.
func (p *localProcess) over() bool { return p.reaped && p.open == 0 }

// exitResult returns what Wait returns for the error of exec.Cmd's.
func exitResult(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	result := ExitError{code: exit.ExitCode(), error: exit.Error()}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		result.signal = strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
	}
	return result
}

// Pid implements Process.
func (p *localProcess) Pid() int { return p.cmd.Process.Pid }

// Stdin implements Process.
func (p *localProcess) Stdin() io.WriteCloser { return p.stdin }

// Stdout implements Process.
func (p *localProcess) Stdout() io.Reader { return p.stdout }

// Stderr implements Process.
func (p *localProcess) Stderr() io.Reader { return p.stderr }

// Wait implements Process.
func (p *localProcess) Wait() error {
	<-p.done
	return p.result
}

// awaitGone waits until nothing is left of a process whose context has ended.
func (p *localProcess) awaitGone(ctx context.Context) {
	select {
	case <-p.gone:
	case <-ctx.Done():
	}
}

// Resize implements Process.
func (p *localProcess) Resize(_ context.Context, rows, cols uint16) error {
	if p.tty == nil {
		return nil
	}
	return p.tty.resize(rows, cols)
}

// Signal implements Signaler.
func (p *localProcess) Signal(_ context.Context, signal string) error {
	sig := unix.SignalNum("SIG" + signal)
	if sig == 0 {
		return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return errProcessDone
	}
	if err := syscall.Kill(-p.Pid(), sig); err != nil {
		return xerrors.Errorf("signal %s: %w", signal, err)
	}
	return nil
}

// Close implements Process.
func (p *localProcess) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over() || p.ending {
		return nil
	}
	p.ending = true
	p.signalGroups(syscall.SIGTERM)
	p.signalGroups(syscall.SIGCONT) // A stopped process takes no signal before.
	go p.seeOff()
	return nil
}

// contextEnded ends the process: gently, unless Close has been called already. What is left of it after that, held
// output and unread output, is let go.
func (p *localProcess) contextEnded(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.cause = cause
	}
	p.canceled = true
	switch {
	case p.over() && !p.ending:
		close(p.gone)
	case p.ending:
		p.kill()
		p.letGo()
	default:
		p.ending = true
		p.signalGroups(syscall.SIGTERM)
		if p.tty != nil {
			p.signalGroups(syscall.SIGHUP)
		}
		p.signalGroups(syscall.SIGCONT)
		go p.seeOff()
	}
}

// seeOffInterval is how often an ending process's group is looked at. There is nothing to wait on for a group.
const seeOffInterval = 10 * time.Millisecond

// seeOff waits until a process that has been asked to end is gone with its whole group, and kills what is not when its time
// is up. It ends soon after that.
func (p *localProcess) seeOff() {
	defer close(p.gone)
	ticker := time.NewTicker(seeOffInterval)
	defer ticker.Stop()
	for began := time.Now(); ; <-ticker.C {
		p.mu.Lock()
		left := !p.reaped || p.groupExists()
		waited := time.Since(began)
		switch {
		case !left || waited > 2*p.killDelay:
			if p.canceled {
				p.letGo()
			}
			p.mu.Unlock()
			return
		case waited > p.killDelay:
			p.kill()
		case waited > p.killDelay/2 && p.tty != nil && !p.hungUp:
			// Later than SIGTERM, so that a shell that traps it can act on it. A shell that does not ignores it, and ends now.
			p.hungUp = true
			p.signalGroups(syscall.SIGHUP)
		}
		p.mu.Unlock()
	}
}

// kill ends the process's groups. The lock is held.
func (p *localProcess) kill() {
	if p.killed {
		return
	}
	p.killed = true
	p.signalGroups(syscall.SIGKILL)
}

// letGo closes the outputs, for processes outside of the group may hold them. The lock is held.
func (p *localProcess) letGo() {
	go p.stdout.close()
	go p.stderr.close()
	if closer, ok := p.stdin.(*pipeStdin); ok {
		go closer.Close()
	}
}

// signalGroups signals the process's group and, in a terminal, the one in the foreground. The lock is held.
func (p *localProcess) signalGroups(sig syscall.Signal) {
	pid := p.Pid()
	if p.tty != nil {
		if fg := p.tty.foreground(); fg > 0 && fg != pid {
			_ = syscall.Kill(-fg, sig)
		}
	}
	if p.groupExists() {
		_ = syscall.Kill(-pid, sig)
	}
}

// groupExists reports whether anything is left of the process's group. The lock is held.
func (p *localProcess) groupExists() bool {
	pid := p.Pid()
	if p.reaped && syscall.Kill(pid, 0) == nil {
		// The number is in use again, which takes an empty group: what there is now is somebody else's.
		return false
	}
	return syscall.Kill(-pid, 0) == nil
}

// localOutput reads an output of a local process. It closes the descriptor at the output's end, whether anybody reads
// until there or not.
type localOutput struct {
	ended func() // called once, when the output has ended

	mu   sync.Mutex // held during a read; guards what follows
	f    *os.File   // nil when closed
	rest []byte     // read ahead of the reader, when f has been closed

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
		n := copy(b, o.rest)
		if o.rest = o.rest[n:]; n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n, err := o.f.Read(b)
	for errors.Is(err, syscall.EIO) && o.mayReopen() {
		n, err = o.f.Read(b)
	}
	if err == nil {
		if n >= busyPipe {
			o.widening.widen(o.f)
		}
		return n, nil
	}
	o.finish()
	if !endOfOutput(err) {
		return n, xerrors.Errorf("read output: %w", err)
	}
	return n, io.EOF
}

// busyPipe is how much at once makes a pipe one that carries much, and that is worth widening.
const busyPipe = 32 << 10

// reopenInterval is how often a terminal that nobody has open is looked at. There is nothing to wait on for an opening.
const reopenInterval = 20 * time.Millisecond

// mayReopen waits a moment, and reports whether a terminal that nobody has open may not be at its end.
func (o *localOutput) mayReopen() bool {
	if o.process == nil || isClosed(o.process) || isClosed(o.closing) {
		return false
	}
	t := time.NewTimer(reopenInterval)
	defer t.Stop()
	select {
	case <-o.process:
	case <-o.closing:
	case <-t.C:
	}
	return true
}

// endOfOutput reports whether an error is how the system, or this file, says that there is no more: EIO is a terminal's
// way.
func endOfOutput(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.EIO) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed)
}

// finish closes the descriptor. The lock is held.
func (o *localOutput) finish() {
	_ = o.f.Close()
	o.f = nil
	o.widening.end()
	o.ended()
}

// settle is called when the process has ended. If nobody else holds the output, it takes what is left of it from the
// system and closes the descriptor, so that a caller who does not read leaves nothing open. It reports whether the
// output has ended.
func (o *localOutput) settle() bool {
	if !o.mu.TryLock() {
		// Somebody is reading, and will get the end if it is one.
		return false
	}
	defer o.mu.Unlock()
	if o.f == nil {
		return true
	}
	if !hungUp(o.f) {
		return false
	}
	rest, _ := io.ReadAll(o.f)
	o.rest = rest
	o.finish()
	return true
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

// endAfter ends the output when d has passed, whoever holds it.
func (o *localOutput) endAfter(d time.Duration) {
	if o.file != nil {
		_ = o.file.SetReadDeadline(time.Now().Add(d))
	}
}

// close ends the output now. What has not been read is dropped.
func (o *localOutput) close() {
	o.closeOnce.Do(func() { close(o.closing) })
	if o.file != nil {
		_ = o.file.SetReadDeadline(time.Unix(0, 1)) // interrupts a read
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil {
		o.finish()
	}
}

// pipeStdin is the writing end of a process's stdin.
type pipeStdin struct {
	f      *os.File
	nowait *nowait
	close  sync.Once
	err    error

	widening widening
}

func newPipeStdin(f *os.File) *pipeStdin { return &pipeStdin{f: f, nowait: newNowait(f)} }

// Write implements io.Writer.
func (s *pipeStdin) Write(b []byte) (int, error) {
	if len(b) >= busyPipe {
		s.widening.widen(s.f)
	}
	return s.f.Write(b)
}

// writeNoWait implements nowaitWriter.
func (s *pipeStdin) writeNoWait(b []byte) int { return s.nowait.write(b) }

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

// terminal is the controlling end of a pseudo-terminal.
type terminal struct{ f *os.File }

// openTerminal opens a terminal and returns it with the end for the child, which belongs to the credential's user.
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
	if err = t.resize(rows, cols); err == nil && cred != nil {
		err = child.Chown(int(cred.Uid), -1)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return t, child, nil
}

// pollable returns f as a file whose reads and writes need no thread and are interrupted by Close. The pty package's is
// not: it puts the descriptor in blocking mode. It takes f's place.
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

// control runs f with the descriptor, if the terminal is open.
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

// foreground returns the process group in the foreground, or 0.
func (t *terminal) foreground() (pgid int) {
	_ = t.control(func(fd int) (err error) {
		pgid, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	return pgid
}

// terminalStdin types into a terminal.
type terminalStdin struct {
	t      *terminal
	mu     sync.Mutex // held during a write; guards what follows
	nowait *nowait
	// midLine says that what was typed last does not end a line.
	midLine bool
	closed  bool
}

// Write implements io.Writer.
func (s *terminalStdin) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	n, err := s.t.f.Write(b)
	s.typed(b[:n])
	return n, err
}

// writeNoWait implements nowaitWriter.
func (s *terminalStdin) writeNoWait(b []byte) int {
	if !s.mu.TryLock() {
		return 0
	}
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	n := s.nowait.write(b)
	s.typed(b[:n])
	return n
}

// typed remembers how what was typed ends. The lock is held.
func (s *terminalStdin) typed(b []byte) {
	if n := len(b); n > 0 {
		s.midLine = b[n-1] != '\n' && b[n-1] != '\r'
	}
}

// Close types the terminal's end-of-file character. The terminal stays open: to close it would hang up.
func (s *terminalStdin) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	eof := []byte{s.t.eofChar()}
	if s.midLine {
		// The first ends the line, the second is the end of file (POSIX, General Terminal Interface, EOF).
		eof = append(eof, eof[0])
	}
	_, err := s.t.f.Write(eof)
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EIO) {
		return nil
	}
	return err
}

// eofChar returns the character that means end of file in the terminal, usually Ctrl-D.
func (t *terminal) eofChar() byte {
	const ctrlD = 4
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
