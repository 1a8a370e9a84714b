package wsep

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/charmbracelet/x/conpty"
	"golang.org/x/xerrors"
)

// localProcess is a process of this machine. The tests compile this file and do not run it.
type localProcess struct {
	process *os.Process
	console *conpty.ConPty // nil without a terminal

	stdin          io.WriteCloser
	stdout, stderr io.Reader

	done   chan struct{} // closed when result is set
	result error
}

func (l LocalExecer) start(ctx context.Context, c Command) (Process, error) {
	if c.UID != 0 || c.GID != 0 {
		return nil, xerrors.Errorf("run as another user: %w", errors.ErrUnsupported)
	}
	cmd, err := l.command(c, nil)
	if err != nil {
		return nil, err
	}
	p := &localProcess{stdin: disabledStdin{}, done: make(chan struct{})}
	if c.TTY {
		err = p.startConsole(cmd, c)
	} else {
		err = p.startPipes(cmd, c, l.WaitDelay)
	}
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Close() })
	go func() {
		<-p.done
		stop()
	}()
	return p, nil
}

// startPipes starts the process with a pipe for each stream.
func (p *localProcess) startPipes(cmd *exec.Cmd, c Command, waitDelay time.Duration) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return xerrors.Errorf("create pipe: %w", err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		_, _ = outR.Close(), outW.Close()
		return xerrors.Errorf("create pipe: %w", err)
	}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = outW, errW, waitDelay
	if c.Stdin {
		if p.stdin, err = cmd.StdinPipe(); err != nil {
			return xerrors.Errorf("create pipe: %w", err)
		}
	}
	err = cmd.Start()
	_, _ = outW.Close(), errW.Close()
	if err != nil {
		_, _ = outR.Close(), errR.Close()
		return err
	}
	p.process, p.stdout, p.stderr = cmd.Process, outR, errR
	// Ends when the process exits.
	go func() {
		defer close(p.done)
		p.result = exitResult(cmd.Wait())
	}()
	return nil
}

// startConsole starts the process in a pseudo-console.
func (p *localProcess) startConsole(cmd *exec.Cmd, c Command) error {
	rows, cols := c.size()
	console, err := conpty.New(int(cols), int(rows), 0)
	if err != nil {
		return xerrors.Errorf("open console: %w", err)
	}
	pid, handle, err := console.Spawn(cmd.Path, cmd.Args, &syscall.ProcAttr{Dir: cmd.Dir, Env: cmd.Env})
	if err != nil {
		_ = console.Close()
		return err
	}
	defer func() { _ = syscall.CloseHandle(syscall.Handle(handle)) }()
	if p.process, err = os.FindProcess(pid); err != nil {
		_ = console.Close()
		return err
	}
	p.console = console
	p.stdout, p.stderr = consoleOutput{console}, eofReader{}
	if c.Stdin {
		p.stdin = &consoleStdin{console: console}
	}
	// Ends when the process exits.
	go func() {
		defer close(p.done)
		state, err := p.process.Wait()
		if err == nil && !state.Success() {
			err = &exec.ExitError{ProcessState: state}
		}
		p.result = exitResult(err)
		// A console's output ends when the console is closed. The exit of its process does not end it.
		_ = console.Close()
	}()
	return nil
}

func exitResult(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return ExitError{code: exit.ExitCode(), error: exit.Error()}
	}
	return err
}

// Pid implements Process.
func (p *localProcess) Pid() int { return p.process.Pid }

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

// Exited implements [Exiter].
func (p *localProcess) Exited() <-chan struct{} { return p.done }

// Resize implements Process.
func (p *localProcess) Resize(_ context.Context, rows, cols uint16) error {
	if p.console == nil {
		return nil
	}
	return p.console.Resize(int(cols), int(rows))
}

// Close implements Process. The process is terminated, since there is no signal that asks it to end.
func (p *localProcess) Close() error {
	err := p.process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// consoleOutput reads the console's output.
type consoleOutput struct{ console *conpty.ConPty }

func (o consoleOutput) Read(p []byte) (int, error) {
	n, err := o.console.Read(p)
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.ERROR_BROKEN_PIPE) {
		err = io.EOF
	}
	return n, err
}

// consoleStdin writes to a console's input.
type consoleStdin struct {
	console *conpty.ConPty
	once    sync.Once
}

func (s *consoleStdin) Write(p []byte) (int, error) { return s.console.Write(p) }

// Close writes the console's end of file.
func (s *consoleStdin) Close() (err error) {
	s.once.Do(func() { _, err = s.console.Write([]byte("\x1a\r\n")) })
	return err
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }
