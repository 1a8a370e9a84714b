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

// The line that the host runs. The login's shell reads it. This may be any shell that understands exec and single
// quotes as sh, fish and csh do. The line has a POSIX shell run the code.

//go:embed start.sh
var startScript string

//go:embed warden.sh
var wardenScript string

// comments matches empty lines and comments. They are not sent to the host.
var comments = regexp.MustCompile(`(?m)^\s*(#.*)?\n`)

func init() {
	startScript = comments.ReplaceAllString(startScript, "")
	wardenScript = comments.ReplaceAllString(wardenScript, "")
}

// mark begins a script's messages. It tells them from other output, such as that of the login's shell at its start. The
// line itself has the two parts apart, so a shell that prints the line prints no mark.
type mark struct{ first, second string }

func newMark() mark { return mark{"wsep-", rand.Text()} }

func (m mark) String() string { return m.first + m.second }

const (
	// maxLine is the size of the longest argument of a program on Linux, in bytes, without its final NUL. The line is
	// an argument of the login's shell.
	maxLine = 128<<10 - 1
	// maxDropbearLine is the size of the longest line that dropbear takes, in bytes (MAX_CMD_LEN in its sysoptions.h).
	// It closes the connection when a line is much longer.
	maxDropbearLine = 9000
)

// isDropbear reports whether the server's version names dropbear (RFC 4253 section 4.2).
func isDropbear(client *ssh.Client) bool {
	return bytes.HasPrefix(client.ServerVersion(), []byte("SSH-2.0-dropbear"))
}

// isFragile reports whether the server may close a connection, with all its commands, when one of them exits just before another
// starts. dropbear 2022.82 to 2024.85 may (https://github.com/mkj/dropbear/issues/321). A dropbear without a number may be one of
// them.
func isFragile(version []byte) bool {
	number, dropbear := bytes.CutPrefix(version, []byte("SSH-2.0-dropbear"))
	if !dropbear {
		return false
	}
	release := dropbearRelease.FindSubmatch(number)
	if release == nil {
		return true
	}
	r, err := strconv.ParseFloat(string(release[1]), 64)
	return err != nil || r >= 2022.82 && r <= 2024.85
}

// dropbearRelease matches what follows the name in dropbear's version: the year and a number, or before 2011 a number alone.
var dropbearRelease = regexp.MustCompile(`^_([0-9]+\.[0-9]+)`)

// startLine returns the line that starts the command. wardenDir is the directory of its warden, or "".
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

// id returns the ID of a user or a group as text. 0 means none.
func id(n uint32) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// validate refuses commands that no host can run.
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

// wardenLine returns the line that starts a warden. dir is the directory of the warden before it, or "".
func wardenLine(m mark, dir string) string {
	return shellLine("set --" + quote(m.first, m.second, dir, wardenWait) + "\n" + wardenScript)
}

// wardenWait is how long a warden waits for the next one when it can't tell whether the connection is lost, in seconds.
const wardenWait = "20"

// shellLine returns a line that has a POSIX shell run the code. Shells differ in how they read quotes, backslashes,
// exclamation marks and newlines between single quotes. The line has none of these: they are encoded, and printf
// decodes them.
func shellLine(code string) string {
	return `exec /bin/sh -c 'eval "$(printf %b "$1")"' sh '` + encode(code) + `'`
}

// encode encodes the characters that shells read differently between single quotes, for printf's %b. The text must have
// no NUL.
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

// quote returns the words quoted for a POSIX shell, each after a space.
func quote(words ...string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString(" '" + strings.ReplaceAll(word, "'", `'\''`) + "'")
	}
	return b.String()
}
