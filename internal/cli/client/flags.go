package client

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/xerrors"
)

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

// parse parses dev/client's arguments. pflag.ErrHelp means that it has printed the help.
func parse(args []string, help io.Writer) (Options, error) {
	o := Options{Program: "client"}
	var raw rawFlags
	flags := raw.set(&o)
	flags.Usage = func() { fmt.Fprint(help, usage+flags.FlagUsagesWrapped(100)) }
	if len(args) == 0 {
		return Options{}, xerrors.New("give notty or tty, and a command")
	}
	switch args[0] {
	case "tty":
		o.Command.TTY = true
	case "notty":
	case "help", "-h", "--help":
		flags.Usage()
		return Options{}, pflag.ErrHelp
	default:
		return Options{}, xerrors.Errorf("give notty or tty instead of %q", args[0])
	}
	if err := flags.Parse(args[1:]); err != nil {
		return Options{}, err
	}
	if flags.NArg() == 0 {
		return Options{}, xerrors.New("no command is named")
	}
	o.Command.Command, o.Command.Args = flags.Arg(0), flags.Args()[1:]
	return o, raw.check(flags, &o)
}

// rawFlags are the flags that pflag alone can't parse.
type rawFlags struct {
	server  ServerFlags
	noStdin bool
}

// set returns the flags. Parsing them sets the options and the raw flags.
func (raw *rawFlags) set(o *Options) *pflag.FlagSet {
	flags := pflag.NewFlagSet("client", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.SortFlags = false
	raw.server.Add(flags, "ws://127.0.0.1:8080", "connect to the server at `URL`; HOST:PORT is ws://HOST:PORT")
	flags.BoolVar(&o.Embedded, "embedded", false, "connect to a server inside this program, which needs no other")
	flags.BoolVarP(&raw.noStdin, "no-stdin", "n", false, "read nothing, and give the command no stdin (notty only)")
	AddCommandFlags(flags, o)
	flags.StringVar(&o.Command.ID, "id", "", "return to the session `ID`, or begin it (tty only)")
	AddScrollback(flags, o)
	return flags
}

// AddCommandFlags adds the flags about a command that all programs have.
func AddCommandFlags(flags *pflag.FlagSet, o *Options) {
	flags.StringArrayVar(&o.Command.Env, "env", nil, "set the variable `NAME=VALUE` for the command; may be repeated")
	flags.StringVar(&o.Command.WorkingDir, "workdir", "", "start the command in `DIRECTORY`")
	flags.DurationVar(&o.Timeout, "timeout", 0, "end the command after `DURATION`; 0 means never")
}

// AddScrollback adds the flag about what has scrolled off.
func AddScrollback(flags *pflag.FlagSet, o *Options) {
	flags.Uint32Var(&o.Command.Scrollback, "scrollback", 0,
		"show up to `N` lines again that have scrolled off in the session; they then may replace what this terminal has (--id only)")
}

// CheckCommandFlags refuses values that make no sense.
func CheckCommandFlags(o *Options) error {
	if o.Timeout < 0 {
		return xerrors.New("--timeout must not be negative")
	}
	if i := slices.IndexFunc(o.Command.Env, func(kv string) bool { return strings.Index(kv, "=") < 1 }); i >= 0 {
		return xerrors.Errorf("--env: %q is not NAME=VALUE", o.Command.Env[i])
	}
	return nil
}

// check refuses combinations that make no sense, and parses the raw flags.
func (raw *rawFlags) check(flags *pflag.FlagSet, o *Options) (err error) {
	switch {
	case !o.Command.TTY && o.Command.ID != "":
		return xerrors.New("--id is for tty: only a terminal has a session")
	case o.Command.ID == "" && o.Command.Scrollback > 0:
		return xerrors.New("--scrollback is for --id: only a session keeps what has scrolled off")
	case o.Command.TTY && raw.noStdin:
		return xerrors.New("--no-stdin is for notty: a terminal is typed into")
	case o.Embedded && slices.ContainsFunc(serverFlags, flags.Changed):
		return xerrors.Errorf("--embedded connects to no other server: --%s do not go with it", strings.Join(serverFlags, ", --"))
	}
	o.Command.Stdin = !raw.noStdin
	if err := CheckCommandFlags(o); err != nil {
		return err
	}
	o.Server, err = raw.server.Server()
	return err
}
