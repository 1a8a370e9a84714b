package wsep

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/xerrors"
)

// LocalExecer starts commands on this machine. The zero value is ready to use, and a LocalExecer is safe for concurrent
// use.
//
// Every command has a process group of its own, and a terminal of its own if it asked for one. When its context ends, or
// Close is called, the whole group is ended: by SIGTERM, on a terminal by SIGHUP too, and by SIGKILL after KillDelay. On
// Windows, which has no such signals, the process is terminated.
//
// The variable WSEP_TTY=true is set for commands in a terminal, which takes its input for UTF-8 where the system knows that
// mode.
//
// Commands start with every signal at its default, also those that this process ignores because it was started so, by nohup
// or in the background of a script, or because it called signal.Ignore. What it was started to ignore beside SIGHUP and
// SIGINT is known on Linux alone. On Linux they start with no signal blocked, too. For the moment that a start takes, such
// signals are handled by this process, which does nothing with them.
type LocalExecer struct {
	// ChildProcessPriority is the niceness of the commands. nil leaves it as it is. An environment that forbids to
	// change it is no error.
	ChildProcessPriority *int
	// InheritEnv names the variables of this process's environment that commands inherit: none, if the list is empty. nil
	// means all of them. The list is read, never written. It is behind a pointer so that a LocalExecer can be compared.
	InheritEnv *[]string
	// WaitDelay bounds how long the output stays open after a command has ended while another process, such as a
	// background child, holds it. Then the output ends, with what has been written by then. 0 means no bound.
	WaitDelay time.Duration
	// KillDelay is how long a command that was asked to end has before it is killed. The default is one second.
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

// validate refuses what no system can run.
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

// checkDir gives a bad working directory an error of its own, since the system's would be taken for the program's.
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

// inherited returns the part of this process's environment that commands get. It is never nil, which exec.Cmd would take
// for all of it.
func (l LocalExecer) inherited() []string {
	if l.InheritEnv == nil {
		return os.Environ()
	}
	env := []string{}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains(*l.InheritEnv, name) {
			env = append(env, kv)
		}
	}
	return env
}
