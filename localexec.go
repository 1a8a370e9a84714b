package wsep

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/xerrors"
)

// LocalExecer starts commands on this machine. The zero value is ready to use. A LocalExecer is safe for concurrent use.
//
// Every command has a process group of its own. A command with a TTY has a terminal of its own. When its context ends, or
// [Process.Close] is called, the whole group is ended: it gets SIGTERM, in a terminal SIGHUP too, and after KillDelay
// SIGKILL.
//
// On Windows the group is a job. When the command has exited and its outputs have ended, what is left of the job is killed. A
// command is asked to exit by Ctrl-Break, if this process has a console, and in a terminal by closing that; KillDelay later the job is
// killed. [Signaler] has INT, TERM and KILL. An argument of a batch file that cmd.exe would interpret is refused, with an error
// that matches [errors.ErrUnsupported].
//
// A command in a terminal has the variable WSEP_TTY=true. The terminal's input mode is UTF-8, where the system has that
// mode.
//
// Commands start with every signal at its default, even those that this process ignores. A process ignores a signal if it
// was started so, for example by nohup or in the background of a script, or if it called [os/signal.Ignore]. Only on Linux is
// it known which signals it was started to ignore, other than SIGHUP and SIGINT. On Linux commands also start with no signal
// blocked. During a start this process handles these signals, and does nothing on them.
type LocalExecer struct {
	// ChildProcessPriority is the niceness of the commands. nil leaves it unchanged. If the system does not allow the
	// change, the start still succeeds.
	ChildProcessPriority *int
	// InheritEnv names the variables of this process's environment that commands inherit. nil means all variables, an empty
	// list means none. The list is read, never written. It is a pointer so that a LocalExecer can be compared.
	InheritEnv *[]string
	// WaitDelay bounds how long the output stays open after the command has exited, while another process, such as a
	// background child, holds it. The output then ends with what has been written. 0 means no bound.
	WaitDelay time.Duration
	// KillDelay is how long a command has to exit before it is killed. The default is one second.
	KillDelay time.Duration
}

// Start implements Execer.
func (l LocalExecer) Start(ctx context.Context, c Command) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{err}
	}
	if err := validate(c); err != nil {
		return nil, &StartError{err}
	}
	p, err := l.start(ctx, c)
	if err != nil {
		return nil, &StartError{err}
	}
	return p, nil
}

// validate returns an error for a command that no system can run.
func validate(c Command) error {
	if c.Command == "" {
		return xerrors.Errorf("no program is named: %w", ErrInvalidCommand)
	}
	for _, s := range slices.Concat([]string{c.Command, c.WorkingDir}, c.Args, c.Env) {
		if strings.ContainsRune(s, 0) {
			return xerrors.Errorf("%q contains a NUL byte: %w", s, ErrInvalidCommand)
		}
	}
	return nil
}

// command returns the exec.Cmd for a command, without its streams.
func (l LocalExecer) command(c Command, userEnv []string) (*exec.Cmd, error) {
	if err := checkDir(c.WorkingDir); err != nil {
		return nil, err
	}
	cmd := exec.Command(c.Command, c.Args...)
	if cmd.Err != nil {
		return nil, cmd.Err
	}
	cmd.Dir = c.WorkingDir
	cmd.Env = append(append(l.inherited(), userEnv...), c.Env...)
	if c.TTY {
		cmd.Env = append(cmd.Env, "WSEP_TTY=true")
	}
	return cmd, nil
}

// checkDir checks the working directory. The system's error for a bad one would look like one for the program.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return xerrors.Errorf("working directory: %w", err)
	}
	if !info.IsDir() {
		return xerrors.Errorf("working directory: %s: not a directory: %w", dir, ErrInvalidCommand)
	}
	return nil
}

// inherited returns the part of this process's environment that commands inherit. It is never nil: exec.Cmd would take nil
// for the whole environment.
func (l LocalExecer) inherited() []string {
	if l.InheritEnv == nil {
		return os.Environ()
	}
	env := []string{}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if slices.ContainsFunc(*l.InheritEnv, func(inherit string) bool { return sameVariable(inherit, name) }) {
			env = append(env, kv)
		}
	}
	return env
}

// sameVariable reports whether two names are those of one variable. Windows ignores their case.
func sameVariable(a, b string) bool {
	return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b)
}

const defaultKillDelay = time.Second

func (l LocalExecer) killDelay() time.Duration {
	if l.KillDelay <= 0 {
		return defaultKillDelay
	}
	return l.KillDelay
}

// notFoundError is the error of a missing program, whether it is a path or a name that is not in PATH.
type notFoundError struct{ error }

func (e notFoundError) Unwrap() error { return e.error }

func (e notFoundError) Is(target error) bool {
	return target == exec.ErrNotFound || target == os.ErrNotExist
}
