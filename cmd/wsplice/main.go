// Command wsplice lets its clients open many WebSockets to remote hosts through one to this server.
//
//	go run ./cmd/wsplice --allowed-hostnames 127.0.0.1
//
// See --help. The wire is specified in wsplice/README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"cdr.dev/slog"
	"cdr.dev/slog/sloggers/sloghuman"
	"github.com/spf13/pflag"

	"cdr.dev/wsep/internal/peerlog"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run serves until a signal comes, and returns the exit code. It writes the URL to stdout when it listens.
func run(args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "wsplice: %v\n", err)
		return exitUsage
	}
	if err := serve(c, stdout, peerlog.Logger(slog.Make(sloghuman.Sink(stderr)))); err != nil {
		fmt.Fprintf(stderr, "wsplice: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// serve serves until a signal comes, and then shuts down. A second signal ends the process at once.
func serve(c config, stdout io.Writer, logger slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()
	s, err := start(c, logger)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on %s\n", s.url())
	select {
	case <-ctx.Done():
		stop()
		logger.Info(context.Background(), "ending")
	case err = <-s.failed:
	}
	return errors.Join(err, s.shutDown(c.shutdownTimeout))
}

// endSignals returns the signals that end the program, except those that it was started to ignore, as under nohup.
func endSignals() []os.Signal {
	return slices.DeleteFunc([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)
}
