// Package tool is the program cmd/wsep. It is a package so that tests of other programs can run it.
package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/client"
	"cdr.dev/wsep/internal/cli/servercmd"
)

const program = "wsep"

// status is a command's exit code, as an error. What there is to say was printed.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Main runs the program and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	t := &tool{stdout: stdout, stderr: stderr}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if code, ok := errors.AsType[status](err); ok {
		return int(code)
	}
	_, answered := errors.AsType[failure](err)
	switch {
	case err == nil:
		return 0
	case answered:
		client.Report(program, err)
		return failureCode(err)
	}
	fmt.Fprintf(stderr, "%s: %v (see --help)\n", program, err)
	return client.ExitUsage
}

// failure says that something other than the arguments is wrong.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

// fail marks an error as a failure.
func fail(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

// failureCode is the exit code of a failure: 255 if there is no connection, as of ssh(1), else 1.
func failureCode(err error) int {
	if errors.Is(err, wsep.ErrDisconnected) || client.NotConnected(err) {
		return client.ExitFailed
	}
	return 1
}

type tool struct {
	stdout, stderr io.Writer
}

const about = `Runs commands over WebSockets, and looks after their sessions.

The server is --url, or $WSEP_URL, or the default of the configuration, or ws://127.0.0.1:8080. It may be HOST:PORT, a URL
(ws:// or wss://), or the name of a host in the configuration, %s:

  {"default": "box", "hosts": {"box": {"url": "wss://box.example.com", "token_file": "box.token", "ca": "ca.pem"}}}

A token is in the file --token-file, or $WSEP_TOKEN_FILE, or the one that the host has in the configuration.`

const examples = `  wsep serve                             # on this machine, for this machine
  wsep exec -it -- bash                  # a shell there
  wsep exec -it --id main -- bash        # one that survives its connection
  wsep exec --detach --id job -- make    # a command that goes on alone
  wsep ps
  wsep logs -f job
  wsep wait job
  wsep cp -- :/var/log/syslog .`

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:           program,
		Short:         "Runs commands over WebSockets",
		Long:          fmt.Sprintf(about, configPath()),
		Example:       examples,
		Version:       ownVersion(),
		Args:          cobra.ArbitraryArgs,
		RunE:          chooseCommand,
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.AddCommand(t.serve(), t.exec(), t.ps(), t.attach(), t.logs(), t.wait(), t.kill(), t.cp(), t.version())
	addCompletion(root)
	return root
}

func (t *tool) serve() *cobra.Command {
	var flags servercmd.Flags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve commands of this machine, or of an SSH host",
		Long: `Serves commands of this machine, or of an SSH host, and a web terminal if the program was built with it.

Keep everybody else out: listen on a loopback address, which is the default, or ask for a token or for certificates. Other
users of this machine can reach loopback addresses too. /healthz answers 200 while the server starts commands.`,
		Example: `  wsep serve
  wsep serve --listen :8443 --tls-cert cert.pem --tls-key key.pem --token-file token --drain 30s
  wsep serve --ssh user@host`,
		Args: between(0, 0),
	}
	flags.Add(c.Flags())
	c.RunE = func(*cobra.Command, []string) error {
		return exit(flags.Run(program, c.Flags(), t.stdout, t.stderr))
	}
	return c
}

// exit returns an exit code as an error. It is nil for 0.
func exit(code int) error {
	if code == 0 {
		return nil
	}
	return status(code)
}

func (t *tool) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  between(0, 0),
		Run:   func(*cobra.Command, []string) { fmt.Fprintln(t.stdout, program, ownVersion()) },
	}
}

// ownVersion returns the module's version from the build information.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}

// addServer adds the flags that choose the server. It returns a function that returns that.
func addServer(c *cobra.Command) func() (client.Server, error) {
	var flags client.ServerFlags
	flags.Add(c.Flags(), "", "connect to the server at `URL`, HOST:PORT, or a name of the configuration")
	_ = c.RegisterFlagCompletionFunc("url", completeHosts) // The flag exists, and has no other.
	return func() (client.Server, error) { return chooseServer(flags) }
}

// completeHosts completes the names of the configuration.
func completeHosts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, _ := readConfig(configPath())
	return slices.Sorted(maps.Keys(c.Hosts)), cobra.ShellCompDirectiveNoFileComp
}

// completeSessions completes the IDs of sessions.
func completeSessions(server func() (client.Server, error)) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		s, err := server()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
		defer cancel()
		list, _ := s.Dialer().Sessions(ctx)
		var ids []cobra.Completion
		for _, info := range list {
			ids = append(ids, info.ID)
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
