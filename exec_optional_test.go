//go:build !windows

package wsep_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// wrapper is an Execer around another one. Programs have such wrappers to log or to change commands.
type wrapper struct{ wsep.Execer }

// openWrapper is a wrapper with Unwrap. It adds a variable to each command.
type openWrapper struct{ inner wsep.Execer }

func (w openWrapper) Unwrap() wsep.Execer { return w.inner }

func (w openWrapper) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	c.Env = append(c.Env, "FORCED=yes")
	p, err := w.inner.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	return wrappedProcess{p}, nil
}

type wrappedProcess struct{ wsep.Process }

func (p wrappedProcess) Unwrap() wsep.Process { return p.Process }

// farServer returns a server of its own and its URL.
func farServer(t *testing.T) (*wsep.Server, string) {
	srv := wsep.NewServer()
	t.Cleanup(srv.Close)
	return srv, newServer(t, &wsep.Handler{Server: srv, Execer: wsep.LocalExecer{}})
}

// TestWrappedExecerLeavesSessionsToFarServer: with a wrapper in a gateway, sessions stay at the far server, and the wrapper
// still changes their commands.
func TestWrappedExecerLeavesSessionsToFarServer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		wrap      func(wsep.Execer) wsep.Execer
		far, near int
	}{
		"with Unwrap":    {func(e wsep.Execer) wsep.Execer { return openWrapper{openWrapper{e}} }, 1, 0},
		"without Unwrap": {func(e wsep.Execer) wsep.Execer { return wrapper{e} }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			far, farURL := farServer(t)
			near := wsep.NewServer()
			t.Cleanup(near.Close)
			url := newServer(t, &wsep.Handler{Server: near, Execer: tc.wrap(wsep.Dialer{URL: farURL})})
			p, err := wsep.Dialer{URL: url}.Start(t.Context(), wsep.Command{
				ID: "wrapped", TTY: true, Stdin: true, Command: "sh",
				Args: []string{"-c", "echo forced: $FORCED; read -r line"},
			})
			require.NoError(t, err)
			require.Equal(t, tc.far, far.SessionCount())
			require.Equal(t, tc.near, near.SessionCount())
			if tc.far > 0 {
				line, err := bufio.NewReader(p.Stdout()).ReadString('\n')
				require.NoError(t, err)
				require.Contains(t, line, "forced: yes")
			}
			_, err = io.WriteString(p.Stdin(), "\n")
			require.NoError(t, err)
			_ = p.Wait()
		})
	}
}

// TestWrappedProcessTellsItsExit: a wrapper with Unwrap keeps the optional methods of the Process.
func TestWrappedProcessTellsItsExit(t *testing.T) {
	url := newServer(t, &wsep.Handler{Execer: openWrapper{wsep.LocalExecer{}}})
	start := func(script string) wsep.Process {
		p, err := wsep.Dialer{URL: url}.Start(t.Context(), wsep.Command{Command: "sh", Args: []string{"-c", script}})
		require.NoError(t, err)
		return p
	}
	// A child holds the output open. Without Exited the exit would wait for the end of the output.
	p := start("sleep 30 & exit 3")
	exit := make(chan error, 1)
	go func() { exit <- p.Wait() }()
	select {
	case err := <-exit:
		require.ErrorAs(t, err, new(wsep.ExitError))
	case <-time.After(patience):
		require.Fail(t, "the exit was not told")
	}
	require.NoError(t, p.Close())

	p = start("exec sleep 30")
	require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "TERM"))
	err, ok := errors.AsType[wsep.ExitError](p.Wait())
	require.True(t, ok)
	require.Equal(t, "TERM", err.Signal())
}

func TestLastingTravelsInContext(t *testing.T) {
	require.False(t, wsep.Lasting(t.Context()))
	ctx, cancel := context.WithCancel(wsep.WithLasting(t.Context()))
	defer cancel()
	require.True(t, wsep.Lasting(ctx))
}
