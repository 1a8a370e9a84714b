package tool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/client"
)

const execLong = `Runs a command, with this program's input and outputs. Flags after the command belong to the command.

With --id the command outlives its connection: in a terminal (-t) as a session that wsep attach returns to, and without one
for --keep after its exit. At the start of a line typed in a terminal, ~. leaves, ~? explains this, and ~~ sends one ~.

The exit code is the command's, or 128+N if signal N ended it. wsep's own codes are:
  2    the arguments make no sense
  124  the timeout ended the command
  126  the command could not be started
  127  the command was not found
  255  the connection failed, or was left with ~.`

func (t *tool) exec() *cobra.Command {
	o := client.Options{Program: program}
	var interactive, noStdin, detach bool
	c := &cobra.Command{
		Use:   "exec [flags] [--] COMMAND [ARGUMENT...]",
		Short: "Run a command",
		Long:  execLong,
		Example: `  wsep exec -- uname -a
  wsep exec -it -- bash
  wsep exec -it --id main -- bash
  tar c folder | wsep exec -- tar x
  wsep exec --detach --id job -- make`,
		Args: between(1, -1),
	}
	flags := c.Flags()
	flags.SetInterspersed(false)
	flags.BoolVarP(&o.Command.TTY, "tty", "t", false, "run the command in a terminal")
	flags.BoolVarP(&interactive, "stdin", "i", false, "pass stdin on to the command, which is the default")
	flags.BoolVarP(&noStdin, "no-stdin", "n", false, "read nothing, and give the command no stdin")
	flags.StringVar(&o.Command.ID, "id", "", "return to the command with this `ID`, or begin it")
	flags.BoolVarP(&detach, "detach", "d", false, "print the command's ID and leave it, once it has started; implies --no-stdin")
	flags.DurationVar(&o.Command.Keep, "keep", 5*time.Minute,
		"keep what a command with --id and without a terminal has written for `DURATION` after its exit")
	client.AddScrollback(flags, &o)
	client.AddCommandFlags(flags, &o)
	server := addServer(c)
	c.RunE = func(_ *cobra.Command, args []string) (err error) {
		switch {
		case interactive && noStdin, interactive && detach:
			return usagef("--stdin does not go with --no-stdin and --detach")
		case o.Command.ID == "" && o.Command.Scrollback > 0:
			return usagef("--scrollback is for --id: only a session keeps what has scrolled off")
		}
		if err := client.CheckCommandFlags(&o); err != nil {
			return err
		}
		if o.Server, err = server(); err != nil {
			return err
		}
		o.Command.Command, o.Command.Args = args[0], args[1:]
		o.Command.Stdin = !noStdin && !detach
		if o.Command.TTY || o.Command.ID == "" && !detach {
			o.Command.Keep = 0
		}
		if detach {
			return t.detach(o)
		}
		return exit(client.Run(o))
	}
	return c
}

// detach starts a command and leaves it.
func (t *tool) detach(o client.Options) error {
	if o.Command.ID == "" {
		o.Command.ID = strings.ToLower(rand.Text()[:8])
	}
	o.Command.Stdin = o.Command.TTY // A terminal without stdin never gets any, from later clients either.
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	p, err := o.Server.Dialer().Start(ctx, o.Command)
	if err != nil {
		client.Report(program, err)
		return status(client.ExitCode(err))
	}
	_ = p.Close()
	_ = p.Wait() // The server has been told then.
	if s, ok := p.(wsep.Sessioner); ok && s.Session() == wsep.SessionFound {
		client.Report(program, xerrors.Errorf("there is a command with the ID %q already: see wsep attach and wsep kill", o.Command.ID))
		return status(client.ExitNotStarted)
	}
	fmt.Fprintln(t.stdout, o.Command.ID)
	return nil
}

func (t *tool) attach() *cobra.Command {
	o := client.Options{Program: program}
	var noStdin bool
	c := &cobra.Command{
		Use:   "attach [flags] ID",
		Short: "Return to a command that was started with --id",
		Long: `Returns to a command that was started with --id. What it has written before is shown again: a terminal's screen, or what is
kept of the outputs. The exit code is as of wsep exec.`,
		Example: "  wsep attach main",
		Args:    between(1, 1),
	}
	c.Flags().BoolVarP(&noStdin, "no-stdin", "n", false, "read nothing, and pass nothing on")
	client.AddScrollback(c.Flags(), &o)
	server := addServer(c)
	c.ValidArgsFunction = completeSessions(server)
	c.RunE = func(_ *cobra.Command, args []string) (err error) {
		if o.Server, err = server(); err != nil {
			return err
		}
		info, err := find(o.Server.Dialer(), args[0])
		if err != nil {
			return fail(err)
		}
		o.Command.ID, o.Command.TTY, o.Command.Stdin = args[0], info.Command.TTY, !noStdin
		return exit(client.Run(o))
	}
	return c
}

// find returns a session. A server that can't tell has sessions in terminals only.
func find(m wsep.SessionManager, id string) (wsep.SessionInfo, error) {
	list, err := m.Sessions(context.Background())
	if errors.Is(err, errors.ErrUnsupported) {
		return wsep.SessionInfo{ID: id, Command: wsep.Command{TTY: true}}, nil
	}
	if err != nil {
		return wsep.SessionInfo{}, err
	}
	for _, info := range list {
		if info.ID == id {
			return info, nil
		}
	}
	return wsep.SessionInfo{}, noSession(id)
}
