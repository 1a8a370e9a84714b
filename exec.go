package wsep

import (
	"context"
	"io"
	"time"

	"cdr.dev/wsep/internal/proto"
)

// Command is a command to run.
type Command struct {
	// ID names a session. A command with an ID and a TTY, or with an ID and Keep, outlives its connection: a later start with
	// the same ID attaches to its session. Without TTY and Keep the ID has no meaning.
	ID string
	// Keep is how long a command with an ID and without a terminal is remembered after its exit, while no client is attached.
	// Such a command is a session too. Its client's context, Close and a lost connection make the client detach, and the command
	// runs on. The newest output is kept: see [Options.KeepOutput]. A client that attaches gets all of that, then what is new,
	// and then the exit. Another process may hold an output open after the exit. The output then goes on, and the session keeps it.
	// All clients share the command's stdin: to close it is an end of file for the command, to detach is not.
	//
	// Keep counts in whole seconds, rounded up. [Options.SessionTimeout] of the server bounds it. 0 means that the command ends
	// with its connection.
	Keep time.Duration
	// Command is the program: a path, or a name. A name is looked up in the PATH of the process that starts the command. No
	// shell interprets it. With an ID and no program, Start attaches to the ID's session, and if there is none its error matches
	// [fs.ErrNotExist].
	Command string
	// Args are the arguments, without the program's name.
	Args []string
	// TTY runs the command in a terminal. Its output is then all on stdout.
	TTY bool
	// Rows and Cols are the size of the terminal, in characters. 0 means 24 and 80.
	Rows uint16
	Cols uint16
	// Stdin says whether the command's standard input can be written to. Without it the input of the command is empty. In a
	// terminal it never gets a byte.
	Stdin bool
	// UID and GID run the command as another user, which takes a privileged process. 0 means the user and the group of the
	// process that starts the command. With a UID and no GID the command gets the user's own group. This fails if the user
	// is unknown.
	UID uint32
	GID uint32
	// Env are variables, as KEY=VALUE, in addition to the inherited ones. They replace inherited variables of the same name.
	Env []string
	// WorkingDir is the directory the command starts in. Empty means that of the process that starts the command.
	WorkingDir string
	// Scrollback is how many lines that have scrolled off a client of a session sees again when it attaches. 0 means none. The
	// terminal must then be blank, also what has scrolled off there. Servers that keep none, or are of an older version, ignore
	// it.
	Scrollback uint32
}

// isKept reports whether the command outlives its clients without a terminal.
func (c Command) isKept() bool { return c.Keep > 0 && !c.TTY }

// inSession reports whether the command runs in a session, or names one.
func (c Command) inSession() bool { return c.ID != "" && (c.TTY || c.Keep > 0 || c.Command == "") }

// size returns the size of the command's terminal.
func (c Command) size() (rows, cols uint16) {
	return proto.Start{Command: proto.Command{Rows: c.Rows, Cols: c.Cols}}.Size()
}

// Execer starts commands. Implementations are safe for concurrent use unless they say otherwise.
type Execer interface {
	// Start starts the command. It reads the command and never writes to it. The caller may change the command once Start
	// has returned.
	//
	// The context governs the start and the process. When it ends, the process is ended, by SIGKILL if need be, and its
	// unread output is dropped. If the command did not start, the error's chain has a [*StartError]. If a connection was
	// lost or not made, the error matches [ErrDisconnected].
	Start(ctx context.Context, c Command) (Process, error)
}

// Process is a started command. Its methods are safe for concurrent use. Each of its streams is for one goroutine at a time
// unless the implementation says otherwise.
//
// A Process may also be a [Signaler], an [Exiter] and a [Sessioner].
type Process interface {
	// Pid is the process's ID on the machine where it runs.
	Pid() int
	// Stdin returns the writer to the command's standard input. Closing it is an end of file for the command. If
	// Command.Stdin was false, writing fails and closing does nothing.
	Stdin() io.WriteCloser
	// Stdout returns the reader of the command's standard output, or of its terminal. It returns [io.EOF] after the last
	// byte, before and after Wait has returned.
	Stdout() io.Reader
	// Stderr returns the reader of the command's standard error. It is empty for a command with a terminal.
	Stderr() io.Reader
	// Resize changes the size of the terminal. Without a terminal it does nothing. What is written to Stdin after Resize has
	// returned reaches the command after the new size. In a session of GNU screen, and on Windows, it may come before.
	Resize(ctx context.Context, rows, cols uint16) error
	// Wait waits until the process exits. It returns nil for exit code 0, and an [ExitError] for any other exit code and for
	// a signal. Any other error says that the exit is unknown, and why. Wait may be called several times.
	//
	// Wait does not need the output to be read if it fits the buffers on its way. If it does not fit, the command waits
	// until it is read.
	Wait() error
	// Close asks the command to exit: its process group gets SIGTERM and, after a short grace, SIGKILL. Close does not wait
	// for the exit; Wait does. To force the exit, cancel the context passed to Start. After the exit Close is no error: it
	// ends output that another process still holds open.
	Close() error
}

// Signaler is implemented by a [Process] that takes signals.
type Signaler interface {
	// Signal sends a signal to the command's process group. The signal is its POSIX name without SIG, such as "INT", as in
	// RFC 4254 section 6.10. If the command has exited, the error matches [os.ErrProcessDone]. If the machine or the peer's
	// version of wsep does not know the signal, it matches [errors.ErrUnsupported]. A peer drops a signal that only systems
	// other than its own have.
	Signal(ctx context.Context, signal string) error
}

// ExitError says that a process exited with an exit code other than 0, or by a signal. Wait returns it by value.
type ExitError struct {
	code   int
	error  string
	signal string
}

// NewExitError returns an [ExitError] for an [Execer] with exit codes of its own. The message is what Error returns.
func NewExitError(code int, message string) ExitError { return ExitError{code: code, error: message} }

// NewSignalError returns an [ExitError] for a command that a signal killed. Its exit code is -1. The signal is its name
// without SIG, or empty if the name is unknown. The message is what Error returns.
func NewSignalError(signal, message string) ExitError {
	return ExitError{code: -1, error: message, signal: signal}
}

// ExitCode returns the exit code, or -1 if a signal killed the command.
func (e ExitError) ExitCode() int { return e.code }

// Error describes how the process exited.
func (e ExitError) Error() string { return e.error }

// Signal returns the name, without SIG, of the signal that killed the command. It is empty if there was none, if the signal
// has no name, and if a peer on the way does not send it.
func (e ExitError) Signal() string { return e.signal }

// disabledStdin is the stdin of a command without Command.Stdin.
type disabledStdin struct{}

func (disabledStdin) Write([]byte) (int, error) { return 0, errStdinDisabled }
func (disabledStdin) Close() error              { return nil }
