package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/dev/internal/serve"
	"cdr.dev/wsep/dev/internal/serverurl"
)

// options are the parsed arguments.
type options struct {
	tty      bool
	command  wsep.Command
	url      string
	header   http.Header
	roots    *x509.CertPool // the authorities to trust; nil means this machine's
	timeout  time.Duration  // 0 means none
	resume   time.Duration  // how long a lost connection is waited for
	embedded bool
}

const usage = `Usage: client notty [flags] [--] COMMAND [ARGUMENT...]
       client tty [flags] [--] COMMAND [ARGUMENT...]

Runs a command through a wsep server: with notty without a terminal, stdout and stderr apart, with tty in a terminal.
Flags after the command belong to the command.

The exit code is the command's, or 128+N if signal N ended it. The client's own codes are:
  2    the arguments make no sense
  124  the timeout ended the command
  126  the command could not be started
  127  the command was not found
  255  the connection failed, or was left with ~. at the start of a line typed in a terminal (~~ sends one ~)

Flags:
`

// parse parses the arguments. pflag.ErrHelp means that it has printed the help.
func parse(args []string, help io.Writer) (options, error) {
	var o options
	var raw rawFlags
	flags := raw.set(&o)
	flags.Usage = func() { fmt.Fprint(help, usage+flags.FlagUsagesWrapped(100)) }
	if len(args) == 0 {
		return options{}, xerrors.New("give notty or tty, and a command")
	}
	switch args[0] {
	case "tty":
		o.tty = true
	case "notty":
	case "help", "-h", "--help":
		flags.Usage()
		return options{}, pflag.ErrHelp
	default:
		return options{}, xerrors.Errorf("give notty or tty instead of %q", args[0])
	}
	if err := flags.Parse(args[1:]); err != nil {
		return options{}, err
	}
	if err := o.setCommand(flags.Args()); err != nil {
		return options{}, err
	}
	return o, raw.check(flags, &o)
}

// rawFlags are the flags that pflag alone can't parse.
type rawFlags struct {
	headers   []string
	tokenFile string
	caFile    string
	noStdin   bool
}

// set returns the flags. Parsing them sets the options and the raw flags.
func (raw *rawFlags) set(o *options) *pflag.FlagSet {
	flags := pflag.NewFlagSet("client", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.SortFlags = false
	flags.StringVar(&o.url, "url", "ws://127.0.0.1:8080", "connect to the server at `URL`; HOST:PORT is ws://HOST:PORT")
	flags.BoolVar(&o.embedded, "embedded", false, "connect to a server inside this program, which needs no other")
	flags.StringArrayVar(&raw.headers, "header", nil, "send the `\"NAME: VALUE\"` with the request; may be repeated")
	flags.StringVar(&raw.tokenFile, "token-file", "", "present the token in `FILE` to the server")
	flags.StringVar(&raw.caFile, "ca", "", "trust the server if an authority in `FILE` (PEM) certifies it, and no other; for wss://")
	flags.BoolVarP(&raw.noStdin, "no-stdin", "n", false, "read nothing, and give the command no stdin (notty only)")
	flags.StringArrayVar(&o.command.Env, "env", nil, "set the variable `NAME=VALUE` for the command; may be repeated")
	flags.StringVar(&o.command.WorkingDir, "workdir", "", "start the command in `DIRECTORY`")
	flags.DurationVar(&o.timeout, "timeout", 0, "end the command after `DURATION`; 0 means never")
	flags.DurationVar(&o.resume, "resume", time.Minute, "wait up to `DURATION` for a lost connection to come back; 0 means not at all")
	flags.StringVar(&o.command.ID, "id", "", "return to the session `ID`, or begin it (tty only)")
	flags.Uint32Var(&o.command.Scrollback, "scrollback", 0,
		"show up to `N` lines again that have scrolled off in the session; they then may replace what this terminal has (--id only)")
	return flags
}

func (o *options) setCommand(args []string) error {
	if len(args) == 0 {
		return xerrors.New("no command is named")
	}
	o.command.Command, o.command.Args = args[0], args[1:]
	o.command.TTY = o.tty
	return nil
}

// check refuses combinations that make no sense, and parses the raw flags.
func (raw *rawFlags) check(flags *pflag.FlagSet, o *options) (err error) {
	switch {
	case o.timeout < 0:
		return xerrors.New("--timeout must not be negative")
	case o.resume < 0:
		return xerrors.New("--resume must not be negative")
	case !o.tty && o.command.ID != "":
		return xerrors.New("--id is for tty: only a terminal has a session")
	case o.command.ID == "" && o.command.Scrollback > 0:
		return xerrors.New("--scrollback is for --id: only a session keeps what has scrolled off")
	case o.tty && raw.noStdin:
		return xerrors.New("--no-stdin is for notty: a terminal is typed into")
	case o.embedded && slices.ContainsFunc(elsewhere, flags.Changed):
		return xerrors.Errorf("--embedded connects to no other server: --%s do not go with it", strings.Join(elsewhere, ", --"))
	}
	o.command.Stdin = !raw.noStdin
	if i := slices.IndexFunc(o.command.Env, func(kv string) bool { return strings.Index(kv, "=") < 1 }); i >= 0 {
		return xerrors.Errorf("--env: %q is not NAME=VALUE", o.command.Env[i])
	}
	if o.url, err = serverurl.Parse(o.url); err != nil {
		return xerrors.Errorf("--url: %w", err)
	}
	if flags.Changed("ca") {
		if err := o.trust(raw.caFile); err != nil {
			return xerrors.Errorf("--ca: %w", err)
		}
	}
	if o.header, err = parseHeaders(raw.headers); err != nil {
		return xerrors.Errorf("--header: %w", err)
	}
	if flags.Changed("token-file") {
		return o.presentToken(raw.tokenFile)
	}
	return nil
}

// elsewhere are the flags for a server, and for the access to it.
var elsewhere = []string{"url", "header", "token-file", "ca"}

// trust reads the authorities to trust.
func (o *options) trust(file string) error {
	if !serverurl.Secure(o.url) {
		return xerrors.Errorf("%s is without TLS, so it has no certificate: use wss://", o.url)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	o.roots = x509.NewCertPool()
	if !o.roots.AppendCertsFromPEM(content) {
		return xerrors.Errorf("%s has no certificate in PEM form", file)
	}
	return nil
}

func parseHeaders(lines []string) (http.Header, error) {
	header := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, xerrors.Errorf("%q is not NAME: VALUE", line)
		}
		if strings.EqualFold(name, "Host") {
			return nil, xerrors.New("the host is what --url says")
		}
		header.Add(name, strings.TrimSpace(value))
	}
	return header, nil
}

func (o *options) presentToken(file string) error {
	if o.header.Get("Authorization") != "" {
		return xerrors.New("give one of --token-file and --header Authorization")
	}
	token, err := serve.ReadToken(file)
	if err != nil {
		return err
	}
	o.header.Set("Authorization", serve.Bearer(token))
	return nil
}
