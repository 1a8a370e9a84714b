package execertest

import (
	"context"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// badStart is a command that can't be started.
type badStart struct {
	name string
	// command returns the command. fit is a program that can be started. dir is a directory with the files of makeBadPrograms.
	command func(fit, dir string) wsep.Command
	// is are the errors that the reason matches. not are errors that it does not match.
	is, not []error
}

var badStarts = []badStart{
	{
		name:    "MissingInPath",
		command: func(_, _ string) wsep.Command { return wsep.Command{Command: "wsep-test-no-such-program"} },
		is:      []error{exec.ErrNotFound, fs.ErrNotExist},
	},
	{
		name:    "MissingByPath",
		command: func(_, dir string) wsep.Command { return wsep.Command{Command: dir + "/missing"} },
		is:      []error{exec.ErrNotFound, fs.ErrNotExist},
	},
	{
		name:    "Directory",
		command: func(_, dir string) wsep.Command { return wsep.Command{Command: dir} },
		is:      []error{fs.ErrPermission},
	},
	{
		name:    "NotExecutable",
		command: func(_, dir string) wsep.Command { return wsep.Command{Command: dir + "/script"} },
		is:      []error{fs.ErrPermission},
	},
	{
		name:    "NoProgram",
		command: func(_, dir string) wsep.Command { return wsep.Command{Command: dir + "/garbage"} },
		not:     []error{exec.ErrNotFound, fs.ErrNotExist, fs.ErrPermission},
	},
	{
		name: "WorkingDirMissing",
		command: func(fit, dir string) wsep.Command {
			return wsep.Command{Command: fit, WorkingDir: dir + "/missing"}
		},
		is:  []error{fs.ErrNotExist},
		not: []error{exec.ErrNotFound},
	},
	{
		name: "WorkingDirIsFile",
		command: func(fit, dir string) wsep.Command {
			return wsep.Command{Command: fit, WorkingDir: dir + "/script"}
		},
		not: []error{exec.ErrNotFound, fs.ErrNotExist},
	},
	{
		name:    "Empty",
		command: func(_, _ string) wsep.Command { return wsep.Command{} },
		is:      []error{wsep.ErrInvalidCommand},
	},
	{
		name:    "NULInCommand",
		command: func(_, _ string) wsep.Command { return wsep.Command{Command: "tr\x00ue"} },
		is:      []error{wsep.ErrInvalidCommand},
	},
	{
		name:    "NULInArgs",
		command: func(fit, _ string) wsep.Command { return wsep.Command{Command: fit, Args: []string{"a", "b\x00c"}} },
		is:      []error{wsep.ErrInvalidCommand},
	},
	{
		name:    "NULInEnv",
		command: func(fit, _ string) wsep.Command { return wsep.Command{Command: fit, Env: []string{"A=\x00"}} },
		is:      []error{wsep.ErrInvalidCommand},
	},
	{
		name:    "NULInWorkingDir",
		command: func(fit, _ string) wsep.Command { return wsep.Command{Command: fit, WorkingDir: "/\x00"} },
		is:      []error{wsep.ErrInvalidCommand},
	},
}

func startFailureLines() []line {
	var lines []line
	for _, bad := range badStarts {
		lines = append(lines, line{bad.name, bad.testFailure})
	}
	return lines
}

func startReasonLines() []line {
	var lines []line
	for _, bad := range badStarts {
		lines = append(lines, line{bad.name, bad.testReason})
	}
	return lines
}

// made returns the command, and makes the directory if the command needs it.
func (b badStart) made(f *fixture) wsep.Command {
	f.Helper()
	const unmade = "/wsep-test-directory"
	fit := f.nothing().Command
	c := b.command(fit, unmade)
	if !strings.HasPrefix(c.Command, unmade) && !strings.HasPrefix(c.WorkingDir, unmade) {
		return c
	}
	return b.command(fit, f.tempDir(makeBadPrograms))
}

// fail starts a command that can't be started, and returns the error.
func fail(f *fixture, c wsep.Command) (err error) {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.within(patience, "Start", func() { _, err = f.execer.Start(ctx, c) })
	return err
}

// testFailure: Start returns a StartError with a reason, and the Execer can start other commands.
func (b badStart) testFailure(f *fixture) {
	c := b.made(f)
	for _, mode := range []mode{piped, onTerminal} {
		requireStartError(f, fail(f, mode(c)))
		require.Equal(f, "fit\n", f.run(f.command(program{out("fit\n")})))
	}
}

func requireStartError(f *fixture, err error) {
	f.Helper()
	var start *wsep.StartError
	require.ErrorAs(f, err, &start)
	require.NotEmpty(f, start.Err.Error())
	require.NotErrorIs(f, err, wsep.ErrDisconnected)
}

// testReason: the error matches the reason why the command did not start.
func (b badStart) testReason(f *fixture) {
	err := fail(f, b.made(f))
	require.Error(f, err)
	for _, target := range b.is {
		require.ErrorIs(f, err, target)
	}
	for _, target := range b.not {
		require.NotErrorIs(f, err, target)
	}
}
