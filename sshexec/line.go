package sshexec

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// What is sent to the host to be run: a line for the login's shell, which may be any that understands exec and single
// quotes as sh, fish and csh do alike. It has a POSIX shell run the code.

//go:embed start.sh
var startScript string

//go:embed warden.sh
var wardenScript string

// comments are lines that the host need not be sent.
var comments = regexp.MustCompile(`(?m)^\s*(#.*)?\n`)

func init() {
	startScript = comments.ReplaceAllString(startScript, "")
	wardenScript = comments.ReplaceAllString(wardenScript, "")
}

// mark tells what a script says from what else is on its output, such as what the login's shell says at its start. Its
// two parts never stand together in a line that a shell may print.
type mark struct{ first, second string }

func newMark() mark { return mark{"wsep-", rand.Text()} }

func (m mark) String() string { return m.first + m.second }

const (
	// maxLine is what Linux takes as one argument of a program, as the line is of the login's shell, without its final
	// NUL.
	maxLine = 128<<10 - 1
	// maxDropbearLine is what dropbear takes (MAX_CMD_LEN in its sysoptions.h). It drops the connection for a much
	// longer one.
	maxDropbearLine = 9000
)

// isDropbear reports whether the server calls itself so (RFC 4253 section 4.2).
func isDropbear(client *ssh.Client) bool {
	return bytes.HasPrefix(client.ServerVersion(), []byte("SSH-2.0-dropbear"))
}

// startLine returns the line that starts the command, under the warden that has the directory, if any.
func startLine(c wsep.Command, m mark, wardenDir string, limit int) (string, error) {
	line := shellLine(startCode(c, m, wardenDir))
	if len(line) > limit {
		return "", xerrors.Errorf("arguments and environment make a line of %d bytes, the host takes %d: %w",
			len(line), limit, wsep.ErrInvalidCommand)
	}
	return line, nil
}

func startCode(c wsep.Command, m mark, wardenDir string) string {
	env, terminal, input, variables, run := slices.Clip(c.Env), "", "", "", "exec $wsep_group"
	switch {
	case c.TTY:
		env, terminal = append(env, "WSEP_TTY=true"), "terminal"
	case !c.Stdin:
		input = " </dev/null"
	}
	if len(env) > 0 {
		variables = "env"
		run += " env --" + quote(env...)
	}
	return "set --" + quote(m.first, m.second, id(c.UID), id(c.GID), c.WorkingDir, c.Command, terminal, wardenDir, variables) + "\n" +
		startScript +
		`set -- "$@"` + quote(c.Args...) + "\n" +
		run + ` "$@"` + input
}

// id returns the ID of a user or a group. 0 is none.
func id(n uint32) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// validate refuses what no host can run.
func validate(c wsep.Command) error {
	if c.Command == "" {
		return xerrors.Errorf("no program is named: %w", wsep.ErrInvalidCommand)
	}
	for _, s := range slices.Concat([]string{c.Command, c.WorkingDir}, c.Args, c.Env) {
		if strings.ContainsRune(s, 0) {
			return xerrors.Errorf("%q contains a NUL byte: %w", s, wsep.ErrInvalidCommand)
		}
	}
	for _, variable := range c.Env {
		if strings.IndexByte(variable, '=') < 1 {
			return xerrors.Errorf("variable %q is not NAME=VALUE: %w", variable, wsep.ErrInvalidCommand)
		}
	}
	return nil
}

// wardenLine returns the line that starts a warden, in place of the one that had the directory, if any.
func wardenLine(m mark, dir string) string {
	return shellLine("set --" + quote(m.first, m.second, dir, wardenPatience) + "\n" + wardenScript)
}

// wardenPatience is for how many seconds a warden waits for the next one, where it can't tell that the connection is lost.
const wardenPatience = "20"

// shellLine returns a line that has a POSIX shell run the code, whatever the shell that reads it makes of quotes,
// backslashes, exclamation marks and newlines between single quotes: there are none. printf turns them into what they
// are.
func shellLine(code string) string {
	return `exec /bin/sh -c 'eval "$(printf %b "$1")"' sh '` + encode(code) + `'`
}

// encode writes what shells do not agree on in single quotes as printf's %b takes it. The text must have no NUL.
func encode(code string) string {
	var b strings.Builder
	for _, c := range []byte(code) {
		if c < ' ' || c == 0x7f || strings.IndexByte(`'\!`, c) >= 0 {
			fmt.Fprintf(&b, `\0%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// quote returns the words as a POSIX shell reads them, each after a space.
func quote(words ...string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString(" '" + strings.ReplaceAll(word, "'", `'\''`) + "'")
	}
	return b.String()
}
