package client

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// client runs one command and gives it this program's stdin, stdout and stderr.
type client struct {
	program string // for messages
	execer  wsep.Execer
	ctx     context.Context         // the command's
	leave   context.CancelCauseFunc // ends ctx. exitCode knows the cause
	// terminal is this program's terminal. It is nil if the command has no terminal.
	terminal *terminal
	notice   *notice
	watch    bool // signals are for this program, and not for the command
}

// notty runs a command without a terminal.
func (c *client) notty(command wsep.Command) error {
	signals, started := catchSignals(), make(chan wsep.Process, 1)
	c.spawn(func() { c.relay(signals, started) })
	p, err := c.execer.Start(c.ctx, command)
	if err != nil {
		return c.because(err)
	}
	if !c.watch {
		started <- p
	}
	if command.Stdin {
		// Ends with stdin, or with the program.
		c.spawn(func() { c.feed(p.Stdin(), os.Stdin) })
	}
	err = c.finish(p, os.Stdout)
	ReportSkipped(c.program, p)
	return err
}

// tty runs a command in a terminal as large as this program's.
func (c *client) tty(command wsep.Command) error {
	signals := catchSignals()
	c.terminal = openTerminal(os.Stdin)
	c.spawn(func() { c.relay(signals, nil) })
	changes := sizeChanges() // This comes before the size is read, so that no change is missed.
	command.Rows, command.Cols = c.terminal.size()
	command.Env = append(terminalEnv(), command.Env...)
	p, err := c.execer.Start(c.ctx, command)
	if err != nil {
		return c.because(err)
	}
	defer c.terminal.restore()
	if err := c.terminal.makeRaw(); err != nil {
		return err
	}
	stdin := p.Stdin()
	if c.terminal.present() {
		stdin = &escapes{stdin: stdin, help: c.explainEscapes}
	}
	// The first ends with stdin, the second with the command's context. Both end with the program at the latest.
	c.spawn(func() { c.feed(stdin, os.Stdin) })
	c.spawn(func() { c.followSize(p, changes) })
	if c.terminal.present() {
		c.notice.begin(os.Stdout, func() { c.redraw(p) })
	}
	stdout := openDisplay(os.Stdout)
	err = c.finish(p, stdout)
	undoModes(stdout, err)
	return err
}

// terminalEnv returns the variables that tell a command what its terminal understands.
func terminalEnv() []string {
	if term, ok := os.LookupEnv("TERM"); ok {
		return []string{"TERM=" + term}
	}
	return nil
}

// spawn runs f in a goroutine, which ends with f. It restores the terminal if f panics.
func (c *client) spawn(f func()) {
	go func() {
		defer c.terminal.restoreOnPanic()
		f()
	}()
}

// feed copies this program's stdin to the command, and closes the command's stdin at the end.
func (c *client) feed(stdin io.WriteCloser, from io.Reader) {
	_, err := io.Copy(stdin, from)
	if errors.Is(err, errLeft) {
		// Stdin stays open: its end would end a session's shell.
		c.leave(err)
		return
	}
	if _, ok := errors.AsType[*os.PathError](err); ok {
		// Only errors of this program's stdin count. A command need not read all of its stdin.
		Report(c.program, err)
	}
	_ = stdin.Close()
}

// finish copies the command's output to its end, and returns the command's exit.
func (c *client) finish(p wsep.Process, stdout io.Writer) error {
	if err := c.copyOutputs(p, stdout); err != nil {
		c.leave(err)
		_ = p.Wait() // The server is told before this program exits.
		return err
	}
	return c.because(p.Wait())
}

// copyOutputs copies both outputs until they end. It gives up soon after the context has ended, because this program's own
// output may not be read.
func (c *client) copyOutputs(p wsep.Process, stdout io.Writer) error {
	copied := make(chan error, 2)
	// Each ends with its output.
	c.spawn(func() { copied <- copyOutput(stdout, p.Stdout()) })
	c.spawn(func() { copied <- copyOutput(os.Stderr, p.Stderr()) })
	for range cap(copied) {
		if err := c.awaitCopy(copied); err != nil {
			return err
		}
	}
	return nil
}

// lastOutput is how long this program may write received output after the context has ended.
const lastOutput = time.Second

func (c *client) awaitCopy(copied <-chan error) error {
	select {
	case err := <-copied:
		return err
	case <-c.ctx.Done():
	}
	select {
	case err := <-copied:
		return err
	case <-time.After(lastOutput):
		return context.Cause(c.ctx)
	}
}

// copyOutput copies an output until it ends or fails. Wait returns why it failed. The returned error is the writer's.
func copyOutput(to io.Writer, from io.Reader) error {
	w := &outputWriter{w: to}
	_, _ = io.Copy(w, from)
	return outputError(w.err)
}

// outputWriter remembers the error of its writer.
type outputWriter struct {
	w   io.Writer
	err error
}

func (o *outputWriter) Write(p []byte) (n int, err error) {
	n, o.err = o.w.Write(p)
	return n, o.err
}

// because returns the cause of an error that only says that this program has left the command.
func (c *client) because(err error) error {
	if errors.Is(err, wsep.ErrDisconnected) && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}

var (
	errTimeout = xerrors.New("timed out")
	errLeft    = xerrors.New("left with ~.")
)
