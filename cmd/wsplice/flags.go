package main

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/cli/certificate"
	"cdr.dev/wsep/wsplice"
)

// config is the parsed flags.
type config struct {
	network, listen string
	pprofAddress    string // empty means none
	tls             certificate.Files
	shutdownTimeout time.Duration
	server          *wsplice.Server
}

const usage = `Usage: wsplice [flags]

Lets its clients open many WebSockets to remote hosts through one to this server. It authenticates clients only with
--tls-ca. Without that, a proxy or a firewall before it must keep others out.

Flags:
`

// parse parses the arguments. pflag.ErrHelp means that they asked for help or the version, and that it was printed.
func parse(args []string, help io.Writer) (config, error) {
	c := config{server: new(wsplice.Server)}
	var allowed []string
	flags := pflag.NewFlagSet("wsplice", pflag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(help, usage+flags.FlagUsagesWrapped(100)) }
	c.addServing(flags)
	c.addLimits(flags)
	flags.StringArrayVar(&allowed, "allowed-hostnames", nil,
		"the `HOSTS` that clients may connect to: names, *.names, addresses and ranges (10.0.0.0/8), each with :PORT if no "+
			"other is allowed, separated by spaces or commas. A name that resolves to an address that is not public needs "+
			"the address, too. May be repeated; the default is none")
	showVersion := flags.Bool("version", false, "print the version, and exit")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if *showVersion {
		fmt.Fprintln(help, "wsplice", ownVersion())
		return config{}, pflag.ErrHelp
	}
	if flags.NArg() > 0 {
		return config{}, xerrors.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err := c.check(); err != nil {
		return config{}, err
	}
	var err error
	if c.server.Allowed, err = wsplice.ParseAllowlist(allowed...); err != nil {
		return config{}, xerrors.Errorf("--allowed-hostnames: %w", err)
	}
	return c, nil
}

// addServing adds the flags about addresses and clients.
func (c *config) addServing(flags *pflag.FlagSet) {
	flags.StringVar(&c.listen, "listen", "127.0.0.1:3000", "the `ADDRESS` to listen on; port 0 picks a free one")
	flags.StringVar(&c.network, "network", "tcp", "the `NETWORK` to listen on: "+strings.Join(networks, ", "))
	flags.StringSliceVar(&c.server.AllowedHosts, "allowed-hosts", nil,
		"the host `NAMES`, separated by commas, under which clients may address this server, as patterns; the default is "+
			"loopback names, and all names if the server listens elsewhere")
	flags.StringSliceVar(&c.server.AllowedOrigins, "allowed-origins", nil,
		"the `ORIGINS`, separated by commas, of web pages that may connect, beside those of the server's own host, as "+
			"patterns such as https://*.example.com")
	flags.StringVar(&c.tls.Cert, "tls-cert", "",
		"the `FILE` with the server's certificate; it is loaded again when it changes")
	flags.StringVar(&c.tls.Key, "tls-key", "", "the `FILE` with the certificate's key")
	flags.StringVar(&c.tls.CA, "tls-ca", "", "the `FILE` with the certificates of authorities; only clients with a "+
		"certificate of one of them may connect")
	flags.StringVar(&c.pprofAddress, "pprof-address", "",
		"serve profiles on `ADDRESS`, which without a host is on loopback; the default is not to")
	flags.BoolVar(&c.server.LegacyCloseMethod, "legacy-close-method", false,
		"report closed remotes as version 0.1.0 did: by onSocketClosed instead of onSocketDisconnect, and with 1001 instead "+
			"of 1006 for a lost connection")
}

// addLimits adds the flags about sizes and times.
func (c *config) addLimits(flags *pflag.FlagSet) {
	c.server.MaxMessage = 5 << 20
	flags.Var((*size)(&c.server.MaxMessage), "frame-size-limit",
		"the `SIZE` of the largest message: bytes, or with a unit, in which 1KB is 1024 bytes")
	flags.IntVar(&c.server.MaxClients, "max-clients", 1024, "serve at most `N` clients at a time")
	flags.IntVar(&c.server.MaxChannels, "max-channels", 10_000, "let each client have at most `N` remotes at a time")
	flags.DurationVar(&c.server.DialTimeout, "dial-timeout", 10*time.Second,
		"give up a remote that is not connected after `DURATION`; a client may ask for less")
	flags.DurationVar(&c.server.WriteTimeout, "write-timeout", 5*time.Second,
		"close a client or a remote that takes no bytes for `DURATION` while some wait for it")
	flags.DurationVar(&c.server.ReadTimeout, "read-timeout", 30*time.Second,
		"close a client or a remote that sends nothing for `DURATION` within a message")
	flags.DurationVar(&c.shutdownTimeout, "shutdown-timeout", 10*time.Second,
		"exit at most `DURATION` after the signal, even if clients are still connected")
}

var networks = []string{"tcp", "tcp4", "tcp6", "unix"}

// check refuses values that make no sense.
func (c *config) check() error {
	if !slices.Contains(networks, c.network) {
		return xerrors.Errorf("--network: %q is none of %s", c.network, strings.Join(networks, ", "))
	}
	for _, err := range []error{
		c.checkTLS(),
		positive("--frame-size-limit", c.server.MaxMessage),
		positive("--max-clients", c.server.MaxClients),
		positive("--max-channels", c.server.MaxChannels),
		positive("--dial-timeout", c.server.DialTimeout),
		positive("--write-timeout", c.server.WriteTimeout),
		positive("--read-timeout", c.server.ReadTimeout),
		positive("--shutdown-timeout", c.shutdownTimeout),
		checkPatterns("--allowed-hosts", c.server.AllowedHosts),
		checkPatterns("--allowed-origins", c.server.AllowedOrigins),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *config) checkTLS() error {
	if (c.tls.Cert == "") != (c.tls.Key == "") {
		return xerrors.New("--tls-cert and --tls-key go together")
	}
	if c.tls.CA != "" && c.tls.Cert == "" {
		return xerrors.New("--tls-ca needs --tls-cert and --tls-key")
	}
	return nil
}

func positive[T int | int64 | time.Duration](flag string, value T) error {
	if value <= 0 {
		return xerrors.Errorf("%s must be positive", flag)
	}
	return nil
}

func checkPatterns(flag string, patterns []string) error {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return xerrors.Errorf("%s: %q: %w", flag, p, err)
		}
	}
	return nil
}
