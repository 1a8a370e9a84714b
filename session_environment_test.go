//go:build linux

package wsep_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// TestSessionHasTheEnvironmentOfAPlainCommand: this includes variables whose names a shell can't have, that a shell changes,
// or that change a shell.
func TestSessionHasTheEnvironmentOfAPlainCommand(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	hostile := []string{
		"A.B=1", "npm_config_foo-bar=1", "npm_config_//registry.example/:_authToken=secret", "BASH_FUNC_f%%=() { echo hi; }",
		"BASH_FUNC_cat%%=() { exit 1; }", "OPTIND=abc", "IFS=x", "SHELLOPTS=braceexpand:xtrace:noexec", "BASHOPTS=checkwinsize",
		"TMOUT=1", "PWD=/nowhere", "OLDPWD=/old", "SHLVL=5", "_=/x", "PPID=3", "UID=77", "LINES=1", "COLUMNS=2", "STY=x", "WINDOW=7",
		"PS1=$ ", "PS4=++", "ENV=/nope", "BASH_ENV=/nope", "CDPATH=/", "GLOBIGNORE=*.s", "LC_ALL=C", "SHELL=", "HOME=",
		"name=n", "dir=d", "server=s", "environment=e", "wsep_1=w", "wsep_environment=-i", "SCREENDIR=/x", "SYSSCREENRC=/x",
		"EMPTY=", "NEWLINES=\n\n a\n+b\n\n", "QUOTES='\"\\ `$x` $(x) ${y} #!", "it's \\ ${a} \"name\"\n=1", " = ", "é=ü", "1=1", "-i=-i", "#=#",
	}
	for _, shell := range []string{"dash", "bash", "busybox"} {
		for where, env := range map[string]struct{ client, machine []string }{
			"of the client":  {client: hostile},
			"of the machine": {machine: append(hostile, "INVALID=\xff\xfe")},
		} {
			t.Run(shell+" "+where, func(t *testing.T) {
				there := localWith(append(env.machine, "PATH="+withShell(t, shell))...)
				dir := sessionDir(t)
				srv, execer := serverIn(t, dir, &wsep.Handler{Execer: there})
				plain := environmentIn(t, execer, "", env.client)
				ofTerminal := func(kv string) bool {
					name, _, _ := strings.Cut(kv, "=")
					return name == "TERM" || name == "COLORTERM" || name == "TERMCAP"
				}
				got := environmentIn(t, execer, "1", env.client)
				require.Contains(t, got, "TERM=screen-256color")
				plain = slices.DeleteFunc(plain, ofTerminal)
				require.Equal(t, plain, slices.DeleteFunc(got, ofTerminal))
				requireSessions(t, srv, 0)

				// A native session needs no shell.
				_, execer = serverIn(t, dir, &wsep.Handler{Execer: there, Options: native()})
				require.Equal(t, plain, slices.DeleteFunc(environmentIn(t, execer, "1", env.client), ofTerminal))
			})
		}
	}
}

// TestEnvironmentOnBusyBox: BusyBox's env has no -S. Then a session's command has only variables that a shell can have.
func TestEnvironmentOnBusyBox(t *testing.T) {
	_, execer := sessionServer(t, nil)
	dir := t.TempDir()
	for _, name := range []string{"sh", "env"} {
		require.NoError(t, os.Symlink(must(t, "busybox"), filepath.Join(dir, name)))
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, name := range []string{"LANG", "LC_ALL", "LC_CTYPE"} {
		t.Setenv(name, "") // Put back after the test.
		require.NoError(t, os.Unsetenv(name))
	}
	kept := []string{"name=n", "dir=d", "server=s", "NEWLINES=\n\n a\n+b\n\n", "QUOTES='\"\\ `$x` $(x) ${y} #!"}
	for id, locale := range map[string][]string{"1": {"LC_ALL=C"}, "2": {"LC_ALL="}, "3": {"LANG=C"}} {
		got := environmentIn(t, execer, id, slices.Concat([]string{"OPTIND=abc", "A.B=1"}, kept, locale))
		require.Subset(t, got, kept)
		require.NotRegexp(t, "wsep_|WSEP_LC", strings.Join(got, "\n"))
		other := func(kv string) bool { return !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") }
		require.Equal(t, locale, slices.DeleteFunc(got, other))
	}
}

// TestEnvironmentIsInNoArguments uses an env that records its arguments. All users of a machine can see arguments.
func TestEnvironmentIsInNoArguments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes")
	text := "#!/bin/sh\necho \"$*\" >>" + notes + "\nexec " + must(t, "env") + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "env"), []byte(text), 0o755))
	there := localWith("PATH=" + dir + ":" + os.Getenv("PATH"))
	_, execer := handlerServer(t, &wsep.Handler{Execer: there})
	require.Contains(t, environmentIn(t, execer, "1", []string{"TOKEN=secret"}), "TOKEN=secret")
	noted, err := os.ReadFile(notes)
	require.NoError(t, err)
	require.Contains(t, string(noted), "-S -i")
	require.NotContains(t, string(noted), "secret")
}

// TestProgramThatLooksLikeAVariable runs a program that env would take for a variable.
func TestProgramThatLooksLikeAVariable(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		_, execer := sessionServer(t, opts)
		program := filepath.Join(t.TempDir(), "a=b")
		require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$A $# $2\"\nexit 9\n"), 0o755))
		c := wsep.Command{ID: "1", TTY: true, Command: program, Args: []string{"x", "'y  z"}, Env: []string{"A=a"}}
		p, s := startScreen(t, execer, c)
		s.waitFor("a 2 'y  z")
		requireExit(t, p, 9)
	})
}
