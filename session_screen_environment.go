package wsep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/xerrors"
)

// A session's command has the same variables as a command without a session. A shell can't pass them all on: it drops names
// that are not valid in a shell, and changes variables of its own. So the variables are read from the Execer and sent to the
// keeper as data. env sets them where the command starts.

// maxEnvironment bounds the environment that an Execer may report, in bytes. Linux allows 6 MiB.
const maxEnvironment = 8 << 20

// environmentOf returns the variables of a command that the Execer starts without a session and without a terminal. It
// returns nil if the machine has no env that prints them.
func environmentOf(ctx context.Context, execer Execer, c Command) ([]string, error) {
	p, err := execer.Start(ctx, Command{
		Command: "env", Args: []string{"-0"}, Env: c.Env, WorkingDir: c.WorkingDir, UID: c.UID, GID: c.GID,
	})
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(p.Stdout(), maxEnvironment))
	if err == nil && len(out) == maxEnvironment {
		err = ErrInvalidCommand
	}
	if err != nil {
		_ = p.Close()
		return nil, xerrors.Errorf("read the environment of the session's command (%d bytes): %w", len(out), err)
	}
	if err := p.Wait(); err != nil {
		if errors.Is(err, ErrDisconnected) || ctx.Err() != nil {
			return nil, err
		}
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// environmentScript returns shell code that sets a variable wsep_N to the value of each variable, and wsep_environment to
// the argument of "env -S" that makes the environment. So no value is in an argument, which all users could see. Variables
// that describe the terminal are left out.
func environmentScript(env []string) string {
	var values, all strings.Builder
	all.WriteString("-i")
	for n, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		switch name {
		case "", "TERM", "TERMCAP", "COLORTERM", "WSEP_TTY":
			continue
		}
		fmt.Fprintf(&values, "wsep_%d=%s\n", n, shellQuote(value))
		fmt.Fprintf(&all, " '%s='${wsep_%d}", splitQuoter.Replace(name), n)
	}
	return values.String() + "wsep_environment=" + shellQuote(all.String()) + "\n"
}

// shellQuote quotes a word for a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// splitQuoter escapes the text between single quotes in an argument of "env -S".
var splitQuoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// shellSettings are variables that make a shell behave differently, or fail, and for each a value without effect.
var shellSettings = map[string]string{
	"BASHOPTS": "", "GLOBIGNORE": "", "OPTIND": "1", "SHELLOPTS": "", "TMOUT": "",
}

// withoutSettings returns variables to put after those of env. They undo those of env that change how a shell behaves.
func withoutSettings(env []string) (quiet []string) {
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if value, ok := shellSettings[name]; ok {
			quiet = append(quiet, name+"="+value)
		} else if strings.HasPrefix(name, "BASH_FUNC_") {
			quiet = append(quiet, name+"=")
		}
	}
	return slices.Compact(quiet)
}
