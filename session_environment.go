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

// A session's command has the variables of a plain one. A shell can't pass them on: it drops names that it can't have, and
// changes variables that are its own. So the Execer tells what a plain command has, the session's keeper gets that as data,
// and env makes the environment of it where the command starts.

// maxEnvironment bounds what an Execer may tell of an environment, in bytes. Linux has a bound of 6 MiB.
const maxEnvironment = 8 << 20

// environmentOf returns the variables of a command that the Execer starts plainly, but for those of a terminal. They are nil
// where there is no env that tells them.
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

// environmentScript returns shell code that has a variable wsep_N for each variable's value, and sets wsep_environment to
// what "env -S" makes the environment of. So the values are in nobody's arguments, which all users can see. What is said of
// the terminal is left out.
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

// splitQuoter escapes what stands between single quotes in an argument of "env -S".
var splitQuoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// shellSettings are variables by which a shell does other than its script says, or nothing at all, with values that change
// nothing.
var shellSettings = map[string]string{
	"BASHOPTS": "", "GLOBIGNORE": "", "OPTIND": "1", "SHELLOPTS": "", "TMOUT": "",
}

// withoutSettings returns variables that, after those of an environment, keep it from changing what a shell does.
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
