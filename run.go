package wsep

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strconv"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// Commands that run from start to end in one call.

// Run starts a command, carries its streams, and waits until it has exited and both outputs have ended. It returns what
// [Process.Wait] returns, or why the command did not start or its streams could not be carried.
//
// The command's input is all of stdin. With a nil stdin it is empty. Command.Stdin does not matter. The outputs are written to
// stdout and stderr. An output whose writer is nil is read and dropped. If both writers are the same and can be compared with
// ==, only one goroutine at a time calls Write. A command with a terminal has all its output on stdout.
//
// If a writer fails, or reading stdin does, Run closes the process as [Process.Close] does and returns that error. What was
// written before stays written. When the context ends, the process is ended, and the error matches the context's error. It does
// not match [ErrDisconnected], but it has the command's [ExitError] in its chain if there is one.
//
// Once the command has exited nothing more is read from stdin. A Read that blocks may still return after Run has: then its bytes
// are lost.
func Run(ctx context.Context, execer Execer, command Command, stdin io.Reader, stdout, stderr io.Writer) error {
	command.Stdin = stdin != nil
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := execer.Start(running, command)
	if err == nil {
		err = carryStreams(p, stdin, stdout, stderr)
	}
	if err != nil && ctx.Err() != nil {
		return &canceledError{command: command.Command, cause: ctx.Err(), err: err}
	}
	return err
}

// Output runs a command as [Run] does, without input, and returns what it has written to its standard output. With an error it
// returns what was written before. Standard error is dropped, but the text of an [ExitError] ends with its last line.
func Output(ctx context.Context, execer Execer, command Command) ([]byte, error) {
	var stdout bytes.Buffer
	var complaints lastLine
	err := Run(ctx, execer, command, nil, &stdout, &complaints)
	return stdout.Bytes(), complaints.explain(err)
}

// CombinedOutput is [Output] with both of the command's outputs in one. The order of what was written to different outputs may
// change on the way.
func CombinedOutput(ctx context.Context, execer Execer, command Command) ([]byte, error) {
	var both bytes.Buffer
	err := Run(ctx, execer, command, nil, &both, &both)
	return both.Bytes(), err
}

// canceledError says that the context ended before the command exited by itself.
type canceledError struct {
	command string
	cause   error // the context's
	err     error // what became of the command
}

func (e *canceledError) Error() string { return "run " + e.command + ": " + e.cause.Error() }

func (e *canceledError) Unwrap() []error {
	if exit, ok := errors.AsType[ExitError](e.err); ok {
		return []error{e.cause, exit}
	}
	return []error{e.cause}
}

// carryStreams carries a process's streams until it has exited and its outputs have ended. It returns the first failure of the
// caller's streams, or how the process exited.
func carryStreams(p Process, stdin io.Reader, stdout, stderr io.Writer) error {
	in := &source{r: stdin, stop: p.Close}
	out := newSink("stdout", stdout, p)
	complaints := out
	if !same(stdout, stderr) {
		complaints = newSink("stderr", stderr, p)
	}
	var draining sync.WaitGroup
	var outErr, complaintsErr error
	draining.Go(func() { _, outErr = io.Copy(out, p.Stdout()) })
	draining.Go(func() { _, complaintsErr = io.Copy(complaints, p.Stderr()) })
	fed := in.feed(p.Stdin())
	draining.Wait()
	exit := p.Wait()
	await(fed, nil, stdinGrace)
	for _, err := range []error{out.failure(), complaints.failure(), in.failure(), exit, outErr, complaintsErr} {
		if err != nil {
			return err
		}
	}
	return nil
}

// stdinGrace is how long Run waits for a Read of stdin when the command has exited. A reader that never blocks is not used any
// more when Run returns.
const stdinGrace = 100 * time.Millisecond

// same reports whether two writers are one.
func same(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// source is the reader that a command's input comes from.
type source struct {
	r    io.Reader
	stop func() error // closes the process

	mu  sync.Mutex // guards err
	err error      // why reading failed
}

// feed writes all of the source to a process's stdin, and ends that. The channel is closed after it.
func (s *source) feed(stdin io.WriteCloser) <-chan struct{} {
	fed := make(chan struct{})
	if s.r == nil {
		close(fed)
		return fed
	}
	// Ends at the end of the source, or with the first write after the process has exited.
	go func() {
		defer close(fed)
		_, _ = io.Copy(stdin, s) // A command need not read its input.
		if s.failure() == nil {
			_ = stdin.Close()
		}
	}()
	return fed
}

// Read implements io.Reader. If reading fails, the process is closed: to the command its input must not look complete.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.mu.Lock()
		s.err = xerrors.Errorf("read stdin: %w", err)
		s.mu.Unlock()
		_ = s.stop()
	}
	return n, err
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// sink is the writer of one output, or of both. If writing fails it closes the process and drops the rest.
type sink struct {
	name string
	w    io.Writer
	stop func() error // closes the process

	mu  sync.Mutex // guards err, and is held while writing
	err error      // why writing failed
}

func newSink(name string, w io.Writer, p Process) *sink {
	if w == nil {
		w = io.Discard
	}
	return &sink{name: name, w: w, stop: p.Close}
}

// Write implements io.Writer. It never fails.
func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return len(p), nil
	}
	n, err := s.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.err = xerrors.Errorf("write %s: %w", s.name, err)
		_ = s.stop()
	}
	return len(p), nil
}

func (s *sink) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// lastLine keeps the end of what is written to it.
type lastLine struct{ end []byte }

// maxLastLine is how much of the end is kept, in bytes.
const maxLastLine = 256

// Write implements io.Writer.
func (l *lastLine) Write(p []byte) (int, error) {
	l.end = append(l.end, p[max(0, len(p)-maxLastLine):]...)
	l.end = l.end[max(0, len(l.end)-maxLastLine):]
	return len(p), nil
}

// explain adds the last line to how a command exited.
func (l *lastLine) explain(err error) error {
	exit, failed := err.(ExitError)
	end := bytes.TrimSpace(l.end)
	if !failed || len(end) == 0 {
		return err
	}
	if i := bytes.LastIndexByte(end, '\n'); i >= 0 {
		end = bytes.TrimSpace(end[i+1:])
	}
	return &explainedError{exit, string(end)}
}

// explainedError says how a command exited, with what it has said last.
type explainedError struct {
	exit ExitError
	line string
}

func (e *explainedError) Error() string { return e.exit.Error() + ": " + strconv.Quote(e.line) }
func (e *explainedError) Unwrap() error { return e.exit }
