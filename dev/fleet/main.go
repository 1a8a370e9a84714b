// Command fleet runs one command on many hosts, through one connection to a wsplice server.
//
//	go run ./dev/fleet --host ws://127.0.0.1:8081 --host ws://127.0.0.1:8082 -- uname -n
//
// Each host is a wsep server, dev/server for example. Each line of output begins with its host. See --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/serverurl"
	"cdr.dev/wsep/internal/peerlog"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

const (
	exitFailed = 1 // the command failed on some host
	exitUsage  = 2
)

// options are the arguments, parsed.
type options struct {
	splice  string
	hosts   []string
	command wsep.Command
}

const usage = `Usage: fleet --host URL... [--splice URL] [--] COMMAND [ARGUMENT...]

Runs a command on all hosts at once. The exit code is 0 if the command succeeded on all of them, 1 if it failed on some,
and 2 if the arguments are wrong.

Flags:
`

// parse parses the arguments. pflag.ErrHelp means that they asked for help, which it has written.
func parse(args []string, help io.Writer) (o options, err error) {
	flags := pflag.NewFlagSet("fleet", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.SortFlags = false
	flags.Usage = func() { fmt.Fprint(help, usage+flags.FlagUsagesWrapped(100)) }
	flags.StringArrayVar(&o.hosts, "host", nil, "run the command at the wsep server at `URL`, or HOST:PORT; may be repeated")
	flags.StringVar(&o.splice, "splice", "ws://127.0.0.1:3000", "go through the wsplice server at `URL`")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if o.splice, err = serverurl.Parse(o.splice); err != nil {
		return options{}, xerrors.Errorf("--splice: %w", err)
	}
	for i := range o.hosts {
		if o.hosts[i], err = serverurl.Parse(o.hosts[i]); err != nil {
			return options{}, xerrors.Errorf("--host: %w", err)
		}
	}
	if len(o.hosts) == 0 || flags.NArg() == 0 {
		return options{}, xerrors.New("give at least one --host, and a command")
	}
	o.command = wsep.Command{Command: flags.Arg(0), Args: flags.Args()[1:]}
	return o, nil
}

func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "fleet: %v (see --help)\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := execute(ctx, o, stdout, stderr); err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "fleet: %s\n", peerlog.Text(strings.TrimSuffix(line, "\n"))) // A host's text may be hostile.
		}
		return exitFailed
	}
	return 0
}
