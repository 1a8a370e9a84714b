// Package servercmd is the command dev/server. It is a package so that the tests of dev/client can run it.
package servercmd

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
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/serve"
	"cdr.dev/wsep/internal/cli/webterm"
	"cdr.dev/wsep/internal/peerlog"
	"cdr.dev/wsep/keeper"
	"cdr.dev/wsep/sshexec"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main serves until a signal comes, and returns the exit code. It prints two lines on stdout: the address that it listens
// on, and the address of the web terminal.
func Main(args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "server: %v\n", err)
		return exitUsage
	}
	return serveUntilEnd(c, stdout, stderr)
}

// Run is Main for a program that has parsed the flags.
func (f *Flags) Run(program string, flags *pflag.FlagSet, stdout, stderr io.Writer) int {
	c, err := f.parsed(flags)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v (see --help)\n", program, err)
		return exitUsage
	}
	c.program = program
	return serveUntilEnd(c, stdout, stderr)
}

func serveUntilEnd(c config, stdout, stderr io.Writer) int {
	if err := run(c, stdout, peerlog.Logger(slog.Make(sloghuman.Sink(stderr)))); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", c.program, err)
		return exitFailed
	}
	return exitOK
}

// run serves until a signal comes. It returns when all commands have ended.
func run(c config, stdout io.Writer, logger slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()
	if c.ssh != nil {
		c.ssh.Unusable = func(line int, err error) {
			logger.Warn(ctx, "known_hosts has a line that can't be used", slog.F("line", line), slog.Error(err))
		}
	}
	execer, end, err := c.execer(ctx)
	if err != nil {
		return err
	}
	defer end()
	listener, err := c.listener(logger)
	if err != nil {
		return err
	}
	drained := &drainable{Execer: execer}
	handler, page := c.handler(drained, logger), c.page()
	server := serve.Start(listener, withHealth(drained, webterm.New(handler, page)), handler.Server, logger)
	fmt.Fprintf(stdout, "listening on %s\nweb terminal at %s\n", server.URL(), c.pageURL(server))
	if !webterm.Built(page) {
		logger.Warn(ctx, "web terminal is not built: build it in the repository, and name its folder with --web",
			slog.F("folder", c.web), slog.F("build", webterm.BuildCommand))
	}
	select {
	case <-ctx.Done():
		stop()
		logger.Info(context.Background(), "ending")
		c.awaitDrained(drained, server)
	case err = <-server.Failed():
	}
	closeErr := server.Close()
	if err == nil && closeErr != nil {
		err = xerrors.Errorf("end: %w", closeErr)
	}
	return err
}

// execer returns the Execer for the commands, and a function that closes it. It connects to an SSH host once, to report
// errors early.
func (c config) execer(ctx context.Context) (execer wsep.Execer, end func(), err error) {
	if c.keep != "" {
		return keeper.Execer{Dir: c.keep, SessionTimeout: c.options.SessionTimeout}, func() {}, nil
	}
	if c.ssh == nil {
		return wsep.LocalExecer{}, func() {}, nil
	}
	client, err := c.ssh.Dial(ctx)
	if err != nil {
		return nil, nil, xerrors.Errorf("connect to SSH host: %w", err)
	}
	_ = client.Close()
	redialer := sshexec.Redial(c.ssh.Dial)
	return redialer, func() { _ = redialer.Close() }, nil
}

// endSignals returns the signals that end the server. If it was started to ignore one, as with nohup, it goes on to.
func endSignals() []os.Signal {
	return slices.DeleteFunc([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)
}

// pageURL returns the web terminal's address, with the token if nobody knows it yet. Browsers do not send the fragment to a
// server, and the page removes it from the address.
func (c config) pageURL(server *serve.Server) string {
	if !c.randomToken {
		return server.PageURL()
	}
	return server.PageURL() + "#token=" + c.token
}

// handler returns the handler that c describes.
func (c config) handler(execer wsep.Execer, logger slog.Logger) *wsep.Handler {
	opts := c.options
	opts.Logger = &logger
	h := &wsep.Handler{
		Execer:         execer,
		Server:         wsep.NewServer(),
		Options:        &opts,
		AllowedHosts:   c.allowedHosts,
		AllowedOrigins: c.allowedOrigins,
	}
	if c.token != "" {
		h.Authorize = serve.Authorize(c.token)
	}
	return h
}
