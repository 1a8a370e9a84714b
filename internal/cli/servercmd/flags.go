package servercmd

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"path"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/browser/web"
	"cdr.dev/wsep/internal/cli/certificate"
	"cdr.dev/wsep/internal/cli/serve"
	"cdr.dev/wsep/internal/cli/sshhost"
)

// config is the flags, parsed.
type config struct {
	program        string // this program's name, for messages
	tls            certificate.Files
	drain          time.Duration
	embedded       bool // the web terminal is the one in this program
	listen         *net.TCPAddr
	token          string // empty means that clients need none
	randomToken    bool   // the token was made here, so it must be printed
	web            string // the folder with the built web terminal
	allowedHosts   []string
	allowedOrigins []string
	options        wsep.Options
	ssh            *sshhost.Host // the machine where commands run; nil for this one
	keep           string        // the directory of the keeper that runs the commands; empty for none
}

const usage = `Usage: server [flags]

Runs its clients' commands on this machine or an SSH host, and serves a web terminal. Keep everybody else out: listen on a
loopback address, which is the default, or ask for a token. Other users of this machine can reach loopback addresses too.

Flags:
`

// Flags are the flags of a server.
type Flags struct {
	config
	listen, tokenFile, sessions, target, identity, knownHosts string
}

// Add adds the flags.
func (f *Flags) Add(flags *pflag.FlagSet) {
	f.AddGateway(flags)
	c := &f.config
	flags.StringVar(&f.sessions, "sessions", "",
		"what keeps sessions: native (this program), screen (GNU screen), or auto (screen where it is fit for use); the "+
			"default is native, and auto with --ssh, whose commands end with their connection")
	flags.StringVar(&c.keep, "keep", "",
		"run the commands in a process of their own, which outlives this one: its socket is in `DIR`, which is made if need be, and "+
			"must be yours alone")
	flags.StringVar(&f.target, "ssh", "",
		"run the commands on an SSH host, `[USER@]HOST[:PORT]`, as that user")
	flags.StringVar(&f.identity, "identity", "",
		"log in there with the key in `FILE`; the default is the keys of the agent at SSH_AUTH_SOCK")
	flags.StringVar(&f.knownHosts, "known-hosts", "",
		"the `FILE` with the host's key; the default is ~/.ssh/known_hosts")
	flags.DurationVar(&c.drain, "drain", 0,
		"at the first signal start nothing new, and give what runs `DURATION` to end; a second signal ends the program at once")
}

// AddGateway adds the flags of a server whose commands run elsewhere: see [Flags.Gateway].
func (f *Flags) AddGateway(flags *pflag.FlagSet) {
	c := &f.config
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080",
		"the `ADDRESS` to listen on; port 0 picks a free one; an address that is not loopback needs a token")
	flags.StringVar(&c.token, "token", "",
		"serve only requests with the header \"Authorization: Bearer `TOKEN`\", and the web terminal's with the token "+
			"that it asks for; other users see it in the list of processes, so prefer --token-file")
	flags.StringVar(&f.tokenFile, "token-file", "", "read the token from `FILE`")
	flags.BoolVar(&c.randomToken, "random-token", false, "make a token, and print it with the web terminal's address")
	flags.StringVar(&c.web, "web", "browser/web/dist", "the `FOLDER` that ci/browser.sh has built the web terminal into")
	flags.StringSliceVar(&c.allowedHosts, "allowed-hosts", nil,
		"the host `NAMES`, separated by commas, under which clients may address this server, as patterns; the default "+
			"is loopback names, and all names if the server listens elsewhere")
	flags.StringSliceVar(&c.allowedOrigins, "allowed-origins", nil,
		"the `ORIGINS`, separated by commas, of web pages that may connect, beside those of the server's own host, as "+
			"patterns such as https://*.example.com")
	flags.IntVar(&c.options.MaxProcesses, "max-processes", 0, "run at most `N` processes at a time; 0 means no limit")
	flags.DurationVar(&c.options.KeepAlive, "keep-alive", 15*time.Second,
		"ping clients every `DURATION`, and drop clients that are silent for two; 0 means no pings")
	flags.DurationVar(&c.options.SessionTimeout, "session-timeout", 5*time.Minute,
		"end a session that has had no client for `DURATION`")
	flags.DurationVar(&c.options.ResumeTimeout, "resume-timeout", time.Minute,
		"wait `DURATION` for a client whose connection is lost, before its command is ended; 0 means not at all")
	flags.StringVar(&c.tls.Cert, "tls-cert", "",
		"serve with TLS, with the certificate in `FILE` (PEM); it is loaded again when it changes")
	flags.StringVar(&c.tls.Key, "tls-key", "", "the `FILE` (PEM) with the certificate's key")
	flags.StringVar(&c.tls.CA, "tls-ca", "",
		"the `FILE` (PEM) with the certificates of authorities; only clients with a certificate of one of them may connect")
}

// parse parses the arguments. pflag.ErrHelp means that they asked for help, which it has written.
func parse(args []string, help io.Writer) (config, error) {
	f := Flags{config: config{program: "server"}}
	flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(help, usage+flags.FlagUsagesWrapped(100)) }
	f.Add(flags)
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, xerrors.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return f.parsed(flags)
}

// parsed returns what the flags say.
func (f *Flags) parsed(flags *pflag.FlagSet) (config, error) {
	c := f.config
	c.embedded = web.Page != nil && !flags.Changed("web")
	if err := c.readToken(flags, f.tokenFile); err != nil {
		return config{}, err
	}
	if err := c.resolve(f.listen); err != nil {
		return config{}, err
	}
	if err := c.chooseHost(flags, f.target, f.identity, f.knownHosts); err != nil {
		return config{}, err
	}
	if err := c.chooseSessions(flags, f.sessions); err != nil {
		return config{}, err
	}
	return c, c.check()
}

// chooseSessions sets what keeps sessions.
func (c *config) chooseSessions(flags *pflag.FlagSet, kind string) error {
	switch {
	case kind == "native", !flags.Changed("sessions") && c.ssh == nil:
		c.options.Sessions = wsep.SessionsNative
	case kind == "screen":
		c.options.Sessions = wsep.SessionsScreen
	case kind == "auto", !flags.Changed("sessions"):
		c.options.Sessions = wsep.SessionsAuto
	default:
		return xerrors.Errorf("--sessions: %q is not native, screen or auto", kind)
	}
	return nil
}

// chooseHost sets the machine where the commands run.
func (c *config) chooseHost(flags *pflag.FlagSet, target, identity, knownHosts string) (err error) {
	if flags.Changed("ssh") && flags.Changed("keep") {
		return xerrors.New("give one of --ssh and --keep")
	}
	if flags.Changed("ssh") {
		if c.ssh, err = sshhost.New(target, identity, knownHosts); err != nil {
			return xerrors.Errorf("--ssh: %w", err)
		}
		return nil
	}
	if flags.Changed("keep") && c.keep == "" {
		return xerrors.New("--keep: no directory is named")
	}
	if flags.Changed("identity") || flags.Changed("known-hosts") {
		return xerrors.New("--identity and --known-hosts are for --ssh")
	}
	return nil
}

// readToken sets the token. An empty token on the command line is an error. It does not stand for no token.
func (c *config) readToken(flags *pflag.FlagSet, file string) (err error) {
	given, inFile := flags.Changed("token"), flags.Changed("token-file")
	switch {
	case given && inFile, given && c.randomToken, inFile && c.randomToken:
		return xerrors.New("give one of --token, --token-file and --random-token")
	case given:
		return serve.CheckToken(c.token)
	case inFile:
		c.token, err = serve.ReadToken(file)
	case c.randomToken:
		c.token = rand.Text()
	}
	return err
}

// resolve sets the address to listen on. It looks the name up once, so that run listens on the address that was checked here.
func (c *config) resolve(listen string) (err error) {
	c.listen, err = net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return xerrors.Errorf("--listen: %w", err)
	}
	if c.listen.IP.IsLoopback() {
		return nil
	}
	if c.token == "" && c.tls.CA == "" {
		return xerrors.Errorf("--listen: %s is not a loopback address, so other machines could run commands on this "+
			"one: give --random-token, --token-file, --token or --tls-ca", listen)
	}
	if c.allowedHosts == nil {
		// The list guards against web pages whose names point here. They don't know the token.
		c.allowedHosts = []string{"*"}
	}
	return nil
}

// check refuses wrong values. It changes values that mean something else in wsep.Options.
func (c *config) check() error {
	switch {
	case (c.tls.Cert == "") != (c.tls.Key == ""):
		return xerrors.New("--tls-cert and --tls-key go together")
	case c.tls.CA != "" && c.tls.Cert == "":
		return xerrors.New("--tls-ca needs --tls-cert and --tls-key")
	case c.drain < 0:
		return xerrors.New("--drain must not be negative")
	}
	if c.options.MaxProcesses < 0 {
		return xerrors.New("--max-processes must not be negative")
	}
	if c.options.SessionTimeout <= 0 {
		return xerrors.New("--session-timeout must be positive")
	}
	if c.options.KeepAlive <= 0 {
		c.options.KeepAlive = -1
	}
	if c.options.ResumeTimeout <= 0 {
		c.options.ResumeTimeout = -1
	}
	if err := checkPatterns("--allowed-hosts", c.allowedHosts); err != nil {
		return err
	}
	return checkPatterns("--allowed-origins", c.allowedOrigins)
}

func checkPatterns(flag string, patterns []string) error {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return xerrors.Errorf("%s: %q: %w", flag, p, err)
		}
	}
	return nil
}
