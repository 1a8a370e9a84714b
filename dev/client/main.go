// Command client runs one command through a wsep server, and exits as the command does.
//
//	go run ./dev/client notty -- ls -la
//	go run ./dev/client tty -- bash
//	go run ./dev/client notty --embedded -- uname -a
//
// The first two need dev/server to run. See --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	o, err := parse(args, os.Stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "client: %v (see --help)\n", err)
		return exitUsage
	}
	err = execute(o)
	report(err)
	return exitCode(err)
}

// execute runs the command in the options. The error is the command's exit.
func execute(o options) error {
	ctx, leave := context.WithCancelCause(context.Background())
	defer leave(nil)
	if o.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, o.timeout, errTimeout)
		defer stop()
	}
	notices := new(notice)
	execer, disconnect, err := connect(o, notices)
	if err != nil {
		return err
	}
	c := &client{execer: execer, ctx: ctx, leave: leave, notice: notices}
	if o.tty {
		err = c.tty(o.command)
	} else {
		err = c.notty(o.command)
	}
	leave(nil) // This comes before disconnect, which waits for the command.
	return errors.Join(err, disconnect())
}
