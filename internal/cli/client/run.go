// Package client runs commands at a server for programs with a terminal, or with pipes: dev/client and cmd/wsep.
package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"cdr.dev/wsep"
)

// Options say what to run, and where.
type Options struct {
	Program  string // this program's name, for messages
	Command  wsep.Command
	Timeout  time.Duration // 0 means none
	Server   Server
	Embedded bool // run the command at a server inside this program
	Watch    bool // signals make this program leave the command, and do not reach the command
}

// Main is the program dev/client. It returns the exit code.
func Main(args []string) int {
	o, err := parse(args, os.Stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "client: %v (see --help)\n", err)
		return ExitUsage
	}
	return Run(o)
}

// Run runs a command with this program's stdin, stdout and stderr. It prints what the exit code can't say, and returns that.
func Run(o Options) int {
	err := execute(o)
	Report(o.Program, err)
	return ExitCode(err)
}

// execute runs the command in the options. The error is the command's exit.
func execute(o Options) error {
	notices := &notice{program: o.Program}
	execer, disconnect, err := connect(o, notices)
	if err != nil {
		return err
	}
	err = carry(o, execer, notices)
	return errors.Join(err, disconnect())
}

// RunOver is Run over an Execer.
func RunOver(o Options, execer wsep.Execer) int {
	err := carry(o, execer, &notice{program: o.Program})
	Report(o.Program, err)
	return ExitCode(err)
}

// carry runs the command over an Execer. When it returns, the command's context has ended.
func carry(o Options, execer wsep.Execer, notices *notice) error {
	ctx, leave := context.WithCancelCause(context.Background())
	defer leave(nil)
	if o.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, o.Timeout, errTimeout)
		defer stop()
	}
	c := &client{program: o.Program, execer: execer, ctx: ctx, leave: leave, notice: notices, watch: o.Watch}
	if o.Command.TTY {
		return c.tty(o.Command)
	}
	return c.notty(o.Command)
}
