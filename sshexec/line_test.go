//go:build !windows

package sshexec

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// FuzzQuote has the real sh read quoted words.
func FuzzQuote(f *testing.F) {
	for _, word := range []string{
		"", " ", "plain", "two words", "'", "''", `'\''`, `\`, `\\`, `\n`, `\0047`, `\c`, "!", "!!", "\n", "\n\n", "a\n",
		"\r\n", "\t", "$HOME", "$(id)", "`id`", "%s", "-n", "~", "*", "\x7f", "\x80\xff", "gr\xfc\xdfe", "世界", "\x1b[31m",
	} {
		f.Add(word, "other")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		if strings.ContainsRune(first+second, 0) {
			t.Skip("no system passes NUL on, and validate refuses it")
		}
		if len(shellLine(quote(first, second))) > maxLine/2 {
			t.Skip("no system passes so long a line on, and startLine refuses it")
		}
		requirePrints(t, []string{"sh"}, first, second)
	})
}

// TestShells has each kind of login shell read every byte.
func TestShells(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for c := 1; c < 256; c++ {
		all.WriteByte(byte(c))
	}
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "ksh", "fish", "tcsh"} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("%s is not installed", shell)
			}
			requirePrints(t, []string{shell}, all.String(), "Grüße", `\`, `\\'`, "!!", "!1\n!", "$HOME", "\n\n")
		})
	}
}

func TestRefusedCommands(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]wsep.Command{
		"no program":            {},
		"NUL":                   {Command: "echo", Args: []string{"a\x00b"}},
		"variable without name": {Command: "env", Env: []string{"=x"}},
		"no variable":           {Command: "env", Env: []string{"-i"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, validate(c), wsep.ErrInvalidCommand)
		})
	}
	_, err := startLine(wsep.Command{Command: "echo", Args: []string{strings.Repeat("x", maxLine)}}, newMark(), "", maxLine)
	require.ErrorIs(t, err, wsep.ErrInvalidCommand)
}

// requirePrints has a shell run a line that prints the words, and compares the output.
func requirePrints(t *testing.T, shell []string, words ...string) {
	t.Helper()
	line := shellLine(`printf '%s\0'` + quote(words...))
	out, err := exec.Command(shell[0], append(shell[1:], "-c", line)...).Output()
	require.NoError(t, err)
	require.Equal(t, strings.Join(words, "\x00")+"\x00", string(out))
}
