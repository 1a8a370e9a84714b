package wsep

import (
	"context"
	"io"

	"cdr.dev/wsep/internal/proto"
)

// Command is a command to run.
type Command struct {
	// ID names a session. A command with a TTY and an ID outlives its connection: starting a command with the same ID
	// again returns to it. Without a TTY the ID has no meaning.
	ID string
	// Command is the program: a path, or a name that is looked up in the PATH of the process that starts it. It is
	// never interpreted by a shell.
	Command string
	// Args are the arguments, without the program's name.
	Args []string
	// TTY runs the command in a terminal. Its output is then all on stdout.
	TTY bool
	// Rows and Cols are the size of the terminal. 0 means 24 and 80.
	Rows uint16
	Cols uint16
	// Stdin says whether the command can be written to. Without it the command reads an empty input, or, in a terminal,
	// one into which nobody types.
	Stdin bool
	// UID and GID run the command as another user, which takes a privileged process. 0 means the user and the group of
	// the process that starts it. A UID without GID gets the user's own group, and fails if the user is unknown.
	UID uint32
	GID uint32
	// Env are further variables, as KEY=VALUE. They win over the inherited ones.
	Env []string
	// WorkingDir is where the command starts. Empty means the working directory of the process that starts it.
	WorkingDir string
}

// size returns the size of the command's terminal.
func (c Command) size() (rows, cols uint16) {
	return proto.Start{Command: proto.Command{Rows: c.Rows, Cols: c.Cols}}.Size()
}

// Execer starts commands. Implementations are safe for concurrent use unless they say otherwise.
type Execer interface {
	// Start starts the command. The command is read, never written, and may be changed once Start has returned.
	//
	// The context governs the process as well as the start: when it ends the process is ended, by force if need be, and
	// what has not been read of its output is dropped. A command that could not be started is reported by an error
	// whose chain has a *StartError; a connection that failed by one that matches ErrDisconnected.
	Start(ctx context.Context, c Command) (Process, error)
}

// Process is a started command. Its methods are safe for concurrent use, save that each of the streams is for one
// goroutine at a time unless the implementation says otherwise.
//
// A Process may also be a [Signaler] and an [Exiter].
type Process interface {
	// Pid is the process's ID on the machine where it runs.
	Pid() int
	// Stdin returns the writer to the command's standard input. Closing it is an end of file for the command. If
	// Command.Stdin was false writing fails and closing does nothing.
	Stdin() io.WriteCloser
	// Stdout returns the reader of the command's standard output, or of its terminal. It returns io.EOF after the last
	// byte, also when that byte is read after Wait has returned.
	Stdout() io.Reader
	// Stderr returns the reader of the command's standard error. It is empty for a command with a terminal.
	Stderr() io.Reader
	// Resize changes the size of the terminal. Without a terminal it does nothing.
	Resize(ctx context.Context, rows, cols uint16) error
	// Wait waits for the command to end. It returns nil if the command ended with exit code 0, an ExitError if it
	// ended with another or by a signal, and any other error if that is not known. It may be called several times.
	//
	// Wait does not need the output to be read as long as the output fits the buffers on the way; a command whose
	// output does not fit waits until somebody reads.
	Wait() error
	// Close asks the command to end: its process group gets SIGTERM, and SIGKILL after a short grace. It does not wait
	// for that; Wait does. Cancel the context passed to Start to force it. Closing a command that has ended is no error,
	// and lets go of output that is still to come from whoever holds it.
	Close() error
}

// Signaler is implemented by a Process that can be sent signals.
type Signaler interface {
	// Signal sends a signal to the command's process group. The signal is its POSIX name without SIG, such as "INT", as
	// in RFC 4254 section 6.10. An error that matches os.ErrProcessDone says that the command has ended, one that
	// matches errors.ErrUnsupported that the machine, or the version of wsep at the other end, does not know the signal. A
	// process at the other end of a connection drops a signal that other systems have and its own has not.
	Signal(ctx context.Context, signal string) error
}

// ExitError is how a command ended that did not succeed. Wait returns it by value.
type ExitError struct {
	code   int
	error  string
	signal string
}

// NewExitError returns an ExitError for an Execer that reports exit codes of its own. The message is what Error
// returns.
func NewExitError(code int, message string) ExitError { return ExitError{code: code, error: message} }

// NewSignalError returns an ExitError for a command that a signal ended, whose exit code is -1. The signal is its name
// without SIG, or empty if it is not known. The message is what Error returns.
func NewSignalError(signal, message string) ExitError {
	return ExitError{code: -1, error: message, signal: signal}
}

// ExitCode returns the command's exit code, or -1 if a signal ended the command.
func (e ExitError) ExitCode() int { return e.code }

// Error describes how the command ended.
func (e ExitError) Error() string { return e.error }

// Signal returns the name, without SIG, of the signal that ended the command. It is empty if none did, and if it
// has no name or no peer on the way tells it.
func (e ExitError) Signal() string { return e.signal }

// disabledStdin is the Stdin of a command that has none.
type disabledStdin struct{}

func (disabledStdin) Write([]byte) (int, error) { return 0, errStdinDisabled }
func (disabledStdin) Close() error              { return nil }
