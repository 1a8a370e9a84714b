//go:build !windows

package wsep_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// screenOf collects what a process shows.
type screenOf struct {
	t     *testing.T
	out   chan []byte
	shown string
}

// watchScreen reads a process's output to its end.
func watchScreen(t *testing.T, p wsep.Process) *screenOf {
	s := &screenOf{t: t, out: make(chan []byte, 1024)}
	go func() {
		defer close(s.out)
		buf := make([]byte, 4096)
		for {
			n, err := p.Stdout().Read(buf)
			if n > 0 {
				s.out <- append([]byte(nil), buf[:n]...)
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// waitFor waits until the text has been shown since the last call, and returns all that was.
func (s *screenOf) waitFor(text string) string {
	s.t.Helper()
	deadline := time.After(10 * time.Second)
	for !strings.Contains(s.shown, text) {
		select {
		case b, ok := <-s.out:
			if !ok {
				s.t.Fatalf("the output ended before %q: %q", text, s.shown)
			}
			s.shown += string(b)
		case <-deadline:
			s.t.Fatalf("%q was not shown: %q", text, s.shown)
		}
	}
	shown := s.shown
	s.shown = ""
	return shown
}

// rest returns what is shown until the end.
func (s *screenOf) rest() string {
	s.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case b, ok := <-s.out:
			if !ok {
				return s.shown
			}
			s.shown += string(b)
		case <-deadline:
			s.t.Fatalf("the output does not end: %q", s.shown)
		}
	}
}

func bash(id string) wsep.Command {
	return wsep.Command{
		ID: id, Command: "bash", Args: []string{"--norc", "--noprofile"}, TTY: true, Stdin: true,
		Env: []string{"PS1=ready> ", "HISTFILE=/dev/null"},
	}
}

func typeLine(t *testing.T, p wsep.Process, line string) {
	t.Helper()
	_, err := io.WriteString(p.Stdin(), line+"\n")
	require.NoError(t, err)
}

// sessionServer returns a server that is closed at the test's end, and an Execer that reaches it.
func sessionServer(t *testing.T, opts *wsep.Options) (*wsep.Server, wsep.Dialer) {
	t.Helper()
	srv := wsep.NewServer()
	url := newServer(t, &wsep.Handler{Server: srv, Options: opts})
	t.Cleanup(srv.Close)
	return srv, wsep.Dialer{URL: url}
}

func TestSessionIsReturnedTo(t *testing.T) {
	srv, execer := sessionServer(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	t0 := time.Now()
	p, err := execer.Start(ctx, bash("1"))
	require.NoError(t, err)
	s := watchScreen(t, p)
	first := s.waitFor("ready> ")
	t.Log("first", time.Since(t0), first)
	typeLine(t, p, "x=kept")
	typeLine(t, p, "stty size; echo size")
	s.waitFor("24 80\r\nsize\r\n")
	require.Equal(t, 1, srv.SessionCount())
	cancel()
	require.Error(t, p.Wait())

	t0 = time.Now()
	c := bash("1")
	c.Rows, c.Cols = 30, 100
	p, err = execer.Start(t.Context(), c)
	require.NoError(t, err)
	s = watchScreen(t, p)
	back := s.waitFor("ready> ")
	t.Log("back", time.Since(t0), back)
	typeLine(t, p, "echo $x; stty size")
	s.waitFor("kept\r\n30 100\r\n")
	t0 = time.Now()
	typeLine(t, p, "exit 9")
	t.Logf("%q", s.rest())
	err = p.Wait()
	exit, ok := errors.AsType[wsep.ExitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 9, exit.ExitCode())
	require.Eventually(t, func() bool { return srv.SessionCount() == 0 }, time.Second, time.Millisecond)
	t.Log("end", time.Since(t0))
}
