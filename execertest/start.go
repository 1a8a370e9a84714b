package execertest

import (
	"context"
	"io/fs"
	"os/exec"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// badStart is a command that can't be started.
type badStart struct {
	name string
	// command returns the command. dir is a directory with two files: script is a program without the mode of one,
	// garbage has the mode and is no program.
	command func(dir string) wsep.Command
	// is are the errors that the reason matches. not are errors that it does not match.
	is, not []error
}

var badStarts = []badStart{
	{
		name:    "MissingInPath",
		command: func(string) wsep.Command { return wsep.Command{Command: "wsep-test-no-such-program"} },
		is:      []error{exec.ErrNotFound, fs.ErrNotExist},
	},
	{
		name:    "MissingByPath",
		command: func(dir string) wsep.Command { return wsep.Command{Command: dir + "/missing"} },
		is:      []error{exec.ErrNotFound, fs.ErrNotExist},
	},
	{
		name:    "Directory",
		command: func(dir string) wsep.Command { return wsep.Command{Command: dir} },
		is:      []error{fs.ErrPermission},
	},
	{
		name:    "NotExecutable",
		command: func(dir string) wsep.Command { return wsep.Command{Command: dir + "/script"} },
		is:      []error{fs.ErrPermission},
	},
	{
		name:    "NoProgram",
		command: func(dir string) wsep.Command { return wsep.Command{Command: dir + "/garbage"} },
		not:     []error{exec.ErrNotFound, fs.ErrNotExist, fs.ErrPermission},
	},
	{
		name: "WorkingDirMissing",
		command: func(dir string) wsep.Command {
			return wsep.Command{Command: "true", WorkingDir: dir + "/missing"}
		},
		is:  []error{fs.ErrNotExist},
		not: []error{exec.ErrNotFound},
	},
	{
		name: "WorkingDirIsFile",
		command: func(dir string) wsep.Command {
			return wsep.Command{Command: "true", WorkingDir: dir + "/script"}
		},
		not: []error{exec.ErrNotFound, fs.ErrNotExist},
	},
	{
		name:    "Empty",
		command: func(string) wsep.Command { return wsep.Command{} },
		is:      []error{wsep.ErrInvalidCommand},
	},
	{
		name:    "NULInCommand",
		command: func(string) wsep.Command { return wsep.Command{Command: "tr\x00ue"} },
		is:      []error{wsep.ErrInvalidCommand},
	},
	{
		name:    "NULInArgs",
		command: func(string) wsep.Command { return wsep.Command{Command: "true", Args: []string{"a", "b\x00c"}} },
		is:      []error{wsep.ErrInvalidCommand},
	},
	{
		name:    "NULInEnv",
		command: func(string) wsep.Command { return wsep.Command{Command: "true", Env: []string{"A=\x00"}} },
		is:      []error{wsep.ErrInvalidCommand},
	},
	{
		name:    "NULInWorkingDir",
		command: func(string) wsep.Command { return wsep.Command{Command: "true", WorkingDir: "/\x00"} },
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

// fail starts the command and returns the error.
func (b badStart) fail(f *fixture, tty bool) (err error) {
	f.Helper()
	dir := f.tempDir()
	f.run(shell(`cd "$1"
		printf '#!/bin/sh\n' >script; chmod 644 script
		printf 'no\0program' >garbage; chmod 755 garbage`, dir))
	c := b.command(dir)
	c.TTY = tty
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.within(patience, "Start", func() { _, err = f.execer.Start(ctx, c) })
	return err
}

// testFailure: Start returns a StartError with a reason, and the Execer can start other commands.
func (b badStart) testFailure(f *fixture) {
	for _, tty := range []bool{false, true} {
		requireStartError(f, b.fail(f, tty))
		require.Equal(f, "fit\n", f.run(shell(`echo fit`)))
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
	err := b.fail(f, false)
	require.Error(f, err)
	for _, target := range b.is {
		require.ErrorIs(f, err, target)
	}
	for _, target := range b.not {
		require.NotErrorIs(f, err, target)
	}
}
