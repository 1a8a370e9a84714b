// Package daemon is the program cmd/wsepd. It is a package so that tests can run it.
package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/xerrors"
)

const program = "wsepd"

const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError says that the arguments make no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{xerrors.Errorf(format, args...)} }

// Main runs the program and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[failure](err); ok {
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "%s: %v (see %s --help)\n", program, err, c.CommandPath())
	return exitUsage
}

// failure says that something other than the arguments is wrong.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

// run makes a command's function from one whose errors are failures, or usage errors.
func run(do func(args []string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		err := do(args)
		if _, usage := errors.AsType[usageError](err); err == nil || usage {
			return err
		}
		return failure{err}
	}
}

const about = `Serves commands as a node of a fleet, a gateway to it, or both.

One machine needs nothing but a name. For more, --peers names one, three or five machines that keep the fleet's registry, the same
on all of them. Of each address, PORT is for the registry's members, PORT+1 for the registry's clients, and PORT+2 for the node
there. All three have TLS with the fleet's own certificates. A machine that is not among the peers is a client of theirs.

The fleet's secrets are in the trust directory. The first wsepd makes it. Copy it to other machines before wsepd starts there.

Sessions outlive wsepd: start it again, and they are there.`

const examples = `  wsepd --name n1
  wsepd --name n1 --peers n1=10.0.0.1:7000,n2=10.0.0.2:7000,n3=10.0.0.3:7000 --listen :8080 --token-file token
  wsepd --name n4 --peers n1=10.0.0.1:7000,n2=10.0.0.2:7000,n3=10.0.0.3:7000
  wsepd ls
  wsepd drain n2`

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:           program + " --name NAME [flags]",
		Short:         "Serves commands as a node of a fleet",
		Long:          about,
		Example:       examples,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	f.add(root.Flags())
	root.RunE = run(func([]string) error {
		c, err := f.config(root.Flags())
		if err != nil {
			return usageError{err}
		}
		return serve(c, stdout, stderr)
	})
	root.AddCommand(lsCommand(stdout), drainCommand(stdout), forgetCommand(), healCommand(stdout), keysCommand(stdout), issueCommand(stdout))
	return root
}

// noArgs refuses arguments.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%q is an argument too many", args[0])
	}
	return nil
}

// stateDir returns the directory for the state of this user's programs (XDG Base Directory Specification).
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", xerrors.Errorf("no directory for the state is known, so give --dir and --trust: %w", err)
	}
	return filepath.Join(home, ".local", "state", program), nil
}

// nodeDir returns the default directory of a node.
func nodeDir(name string) (string, error) {
	state, err := stateDir()
	return filepath.Join(state, "nodes", name), err
}

// trustDir returns the directory that is given, or the default.
func trustDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	state, err := stateDir()
	return filepath.Join(state, "trust"), err
}
