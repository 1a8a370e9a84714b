package webterm

import (
	"context"
	"io"
	"strings"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// machine describes the machine where commands run. It may not be the server's. The page asks for it before it starts a shell.
type machine struct {
	Host  string `json:"host"`
	Shell string `json:"shell"`
	Home  string `json:"home"` // empty if there is none
}

// question is a script that prints the machine's name, its user's shell and its user's home, each followed by a NUL.
const question = `printf '%s\0' "$(uname -n)" \
	"$([ -x "$SHELL" ] && echo "$SHELL" || echo sh)" "$([ -d "$HOME" ] && echo "$HOME")"`

// maxAnswer is how many bytes of an answer are read at most.
const maxAnswer = 64 << 10

// askMachine asks the machine on which an Execer runs commands.
func askMachine(ctx context.Context, execer wsep.Execer) (*machine, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := execer.Start(ctx, wsep.Command{Command: "sh", Args: []string{"-c", question}})
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(p.Stdout(), maxAnswer))
	if err != nil {
		return nil, err
	}
	if err := p.Wait(); err != nil {
		return nil, err
	}
	words := strings.Split(string(answer), "\x00")
	if len(words) != 4 {
		return nil, xerrors.Errorf("machine answers %q", answer)
	}
	return &machine{Host: words[0], Shell: words[1], Home: words[2]}, nil
}
