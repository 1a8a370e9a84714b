//go:build linux

package wsep_test

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

func bash(id string) wsep.Command {
	return wsep.Command{
		ID: id, Command: "bash", Args: []string{"--norc", "--noprofile", "--noediting"}, TTY: true, Stdin: true,
		Env: []string{"PS1=ready> ", "HISTFILE=/dev/null"},
	}
}

// script is a session's command.
func script(id, text string) wsep.Command {
	return wsep.Command{ID: id, Command: "sh", Args: []string{"-c", text}, TTY: true, Stdin: true}
}

func typeLine(t testing.TB, p wsep.Process, line string) {
	t.Helper()
	_, err := io.WriteString(p.Stdin(), line+"\n")
	require.NoError(t, err)
}

// screenOf collects what a process shows.
type screenOf struct {
	t     testing.TB
	more  chan struct{} // has room for one: something was shown
	ended chan struct{} // closed at the output's end

	mu    sync.Mutex // guards what follows
	shown []byte     // what waitFor has not returned yet
	err   error      // how the output ended
}

// watchScreen reads a process's output to its end.
func watchScreen(t testing.TB, p wsep.Process) *screenOf {
	s := &screenOf{t: t, more: make(chan struct{}, 1), ended: make(chan struct{})}
	// Ends with the output.
	go func() {
		defer close(s.ended)
		buf := make([]byte, 4096)
		for {
			n, err := p.Stdout().Read(buf)
			s.mu.Lock()
			s.shown = append(s.shown, buf[:n]...)
			s.err = err
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// take returns everything shown up to the end of the text. ok is false if the text has not been shown.
func (s *screenOf) take(text string) (shown string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := bytes.Index(s.shown, []byte(text))
	if i < 0 {
		return string(s.shown), false
	}
	end := i + len(text)
	shown, s.shown = string(s.shown[:end]), s.shown[end:]
	return shown, true
}

// waitFor waits until the text is shown. It returns what was shown since the last call, up to the end of the text.
func (s *screenOf) waitFor(text string) string {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		shown, ok := s.take(text)
		if ok {
			return shown
		}
		select {
		case <-s.more:
		case <-s.ended:
			if shown, ok := s.take(text); ok {
				return shown
			}
			s.t.Fatalf("the output ended (%v) before %q: %q", s.err, text, shown)
		case <-deadline:
			s.t.Fatalf("%q was not shown: %q", text, shown)
		}
	}
}

// rest returns what is shown until the end.
func (s *screenOf) rest() string {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("the output does not end: %q", s.shown)
	}
	return string(s.shown)
}

// ask makes a shell expand an expression, and returns the result. It first clears the shell's line.
func (s *screenOf) ask(p wsep.Process, expression string) string {
	s.t.Helper()
	n := asked.Add(1)
	// The quotes distinguish the line from its output.
	typeLine(s.t, p, fmt.Sprintf("\x15echo a\"%d=%s;\"", n, expression))
	s.waitFor(fmt.Sprintf("a%d=", n))
	return strings.TrimSuffix(s.waitFor(";"), ";")
}

// within is waitFor for goroutines other than the test's.
func (s *screenOf) within(limit time.Duration, text string) (shown string, ok bool) {
	deadline := time.After(limit)
	for {
		if shown, ok = s.take(text); ok {
			return shown, true
		}
		select {
		case <-s.more:
		case <-s.ended:
			return s.take(text)
		case <-deadline:
			return shown, false
		}
	}
}

var asked atomic.Int64

// escapes are the sequences that move the cursor, clear the screen, set colors and set up a terminal.
var escapes = regexp.MustCompile(`\x1b(\[[0-9;?!>]*[a-zA-Z]|[()][A-Z0-9]|[>=78MDEH])|[\x0e\x0f]`)

// textOf returns the words in the output, without escape sequences.
func textOf(shown string) string {
	return strings.Join(strings.Fields(escapes.ReplaceAllString(shown, " ")), " ")
}

// bash2 is a shell with jobs.
func bash2(id string) wsep.Command {
	c := bash(id)
	c.Args = append(c.Args, "-c", `set -m; sleep 1000 & sleep 1000 & echo up; exec bash --norc --noprofile`)
	return c
}
