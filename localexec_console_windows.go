package wsep

import (
	"math"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/charmbracelet/x/conpty"
	"golang.org/x/sys/windows"
	"golang.org/x/xerrors"
)

// console is a process's terminal, a pseudo-console.
type console struct {
	input *localStdin

	closed chan struct{} // closed when the system has closed the console after hangUp

	mu     sync.Mutex // guards what follows
	pty    *conpty.ConPty
	hungUp bool
}

// newConsole makes a console, and the reading end of its output.
func newConsole(rows, cols uint16) (c *console, output *os.File, err error) {
	input, read, err := newPipe(true)
	if err != nil {
		return nil, nil, err
	}
	output, write, err := newPipe(false)
	if err != nil {
		_, _ = input.Close(), windows.CloseHandle(read)
		return nil, nil, err
	}
	// The library gets the far ends of the pipes, and closes them. It gets no near end, so it closes none: the output is read
	// after the console's end.
	pty, err := conpty.NewWithPipes(uintptr(read), 0, 0, uintptr(write), characters(cols), characters(rows), 0)
	if err != nil {
		_, _ = windows.CloseHandle(read), windows.CloseHandle(write)
		closeAll([]*os.File{input, output})
		return nil, nil, xerrors.Errorf("open console: %w", err)
	}
	return &console{input: &localStdin{f: input}, closed: make(chan struct{}), pty: pty}, output, nil
}

// characters returns a width or height that the system accepts: it has 16 bits with a sign.
func characters(n uint16) int { return min(int(n), math.MaxInt16) }

// startConsole starts the process in a terminal of its own.
func (p *localProcess) startConsole(cmd *exec.Cmd, c Command) error {
	console, output, err := newConsole(c.size())
	if err != nil {
		return err
	}
	if p.process, err = p.job.spawn(console.pty, cmd); err != nil {
		console.hangUp()
		closeAll([]*os.File{output, console.input.f})
		return err
	}
	console.input.process = p.exited
	p.console, p.input = console, console.input
	if c.Stdin {
		p.stdin = &consoleStdin{input: console.input}
	}
	p.stdout, p.stderr = newLocalOutput(output), newLocalOutput(nil)
	return nil
}

// hangUp closes the console. Its processes are told so, and the rest of the output is written. The output ends when they have
// exited. Later calls do nothing.
func (c *console) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hungUp {
		return
	}
	c.hungUp = true
	// Ends when the console's output has been read or closed, and on some versions of Windows when its processes have exited.
	go func() {
		defer close(c.closed)
		_ = closeConsole(c.pty)
	}()
}

// closeConsole closes a console. The rest of its output is written before that ends. A test replaces it.
var closeConsole = (*conpty.ConPty).Close

// awaitClosed waits until the console's handles are closed, but not longer than the limit.
func (c *console) awaitClosed(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.closed:
	case <-t.C:
	}
}

// interrupt types Ctrl-C.
func (c *console) interrupt() error {
	_, err := c.input.Write([]byte{'\x03'})
	return err
}

func (c *console) resize(rows, cols uint16) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hungUp {
		return nil
	}
	return resizeConsole(c.pty, characters(cols), characters(rows))
}

// resizeConsole gives a console its width and height. A test replaces it, because Wine 8 has not implemented it.
var resizeConsole = (*conpty.ConPty).Resize

// consoleStdin writes to a console's input.
type consoleStdin struct {
	input *localStdin

	mu      sync.Mutex // guards what follows
	closed  bool
	midLine bool
}

// Write implements io.Writer.
func (s *consoleStdin) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, xerrors.Errorf("write to stdin: %w", os.ErrClosed)
	}
	n, err := s.input.Write(b)
	if n > 0 {
		s.midLine = b[n-1] != '\r' && b[n-1] != '\n'
	}
	return n, err
}

// Close types an end of file. The console stays open.
func (s *consoleStdin) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	_, err := s.input.Write(consoleEnd(s.midLine))
	return err
}

// consoleEnd is what a user types for an end of file: Ctrl-Z and Enter, at the beginning of a line.
func consoleEnd(midLine bool) []byte {
	if midLine {
		return []byte("\r\x1a\r")
	}
	return []byte("\x1a\r")
}

// typedEnd implements endTyper.
func (p *localProcess) typedEnd(midLine bool) []byte { return consoleEnd(midLine) }
