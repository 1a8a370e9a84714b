package tool

import (
	"github.com/spf13/cobra"
	"golang.org/x/xerrors"
)

// usageError says that the arguments make no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{xerrors.Errorf(format, args...)} }

// between allows from least to most arguments. most is negative if there is no limit.
func between(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("an argument is missing: %s", c.UseLine())
		case most >= 0 && len(args) > most:
			return usagef("%q is an argument too many: %s", args[most], c.UseLine())
		}
		return nil
	}
}

// chooseCommand is what the program does without a command of its own.
func chooseCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	if similar := c.SuggestionsFor(args[0]); len(similar) > 0 {
		return usagef("there is no command %q: did you mean %s?", args[0], similar[0])
	}
	return usagef("there is no command %q", args[0])
}

// chooseShell is what completion does without a shell.
func chooseShell(*cobra.Command, []string) error {
	return usagef("name a shell: bash, zsh, fish or powershell")
}

// addCompletion adds the command that writes scripts for shells.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Use, c.Args, c.RunE = "completion SHELL", cobra.ArbitraryArgs, chooseShell
		}
	}
}
