//go:build linux

package wsep_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
)

// kept returns a shell command with an ID that is kept.
func kept(id, script string) wsep.Command {
	c := sh(script)
	c.ID, c.Keep, c.Stdin = id, time.Minute, true
	return c
}

// TestKeptOverTheWire: over one server, and over two, a command outlives its client's connection.
func TestKeptOverTheWire(t *testing.T) {
	t.Parallel()
	far := serveCut(t, &wsep.Handler{})
	for name, url := range map[string]string{"server": far, "gateway": serveCut(t, &wsep.Handler{Execer: wsep.Dialer{URL: far}})} {
		t.Run(name, func(t *testing.T) {
			execer := wsep.Dialer{URL: url}
			ctx, cancel := context.WithCancel(t.Context())
			first, err := execer.Start(ctx, kept(name, "echo begun; read line; echo got $line; exit 5"))
			require.NoError(t, err)
			require.Equal(t, wsep.SessionCreated, origin(first))
			require.Equal(t, "begun", readLine(t, first.Stdout()))
			cancel()
			require.Error(t, first.Wait())

			again, err := execer.Start(t.Context(), wsep.Command{ID: name, Stdin: true})
			require.NoError(t, err)
			require.Equal(t, wsep.SessionFound, origin(again))
			require.Equal(t, first.Pid(), again.Pid())
			require.Equal(t, "begun", readLine(t, again.Stdout()))
			_, err = io.WriteString(again.Stdin(), "it\n")
			require.NoError(t, err)
			rest, err := io.ReadAll(again.Stdout())
			require.NoError(t, err)
			require.Equal(t, "got it\n", string(rest))
			exit, _ := errors.AsType[wsep.ExitError](again.Wait())
			require.Equal(t, 5, exit.ExitCode())

			// The exit can be learned later too.
			out, err := wsep.Output(t.Context(), execer, wsep.Command{ID: name})
			require.Equal(t, "begun\ngot it\n", string(out))
			exit, _ = errors.AsType[wsep.ExitError](err)
			require.Equal(t, 5, exit.ExitCode())
		})
	}
}

// TestKindOfSession: a session has a terminal, or it has none.
func TestKindOfSession(t *testing.T) {
	t.Parallel()
	execer := wsep.Dialer{URL: serveCut(t, &wsep.Handler{})}
	for _, tty := range []bool{false, true} {
		_, err := execer.Start(t.Context(), wsep.Command{ID: "none", TTY: tty})
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, ok := errors.AsType[*wsep.StartError](err)
		require.True(t, ok, "%v", err)
	}
	_, err := execer.Start(t.Context(), wsep.Command{})
	require.ErrorIs(t, err, wsep.ErrInvalidCommand)

	p, err := execer.Start(t.Context(), kept("1", "read line"))
	require.NoError(t, err)
	c := wsep.Command{ID: "1", Command: "sh", TTY: true}
	_, err = execer.Start(t.Context(), c)
	require.ErrorIs(t, err, wsep.ErrInvalidCommand, "the session has no terminal")
	require.NoError(t, p.Stdin().Close())
	require.Error(t, p.Wait())
}

// TestSkippedOverTheWire: a client is told of all that it does not get, also over a gateway and after a lost connection.
func TestSkippedOverTheWire(t *testing.T) {
	t.Parallel()
	const kept1, size = 50_000, 1_000_000
	far := serveCut(t, &wsep.Handler{Options: &wsep.Options{KeepOutput: kept1}})
	proxy := cuttest.New(t, serveCut(t, &wsep.Handler{Execer: wsep.Dialer{URL: far}}), func() cuttest.Plan { return cuttest.Plan{} })
	execer := wsep.Dialer{URL: proxy.URL()}
	p, err := execer.Start(t.Context(), kept("1", "head -c 1000000 /dev/zero; read line; echo more"))
	require.NoError(t, err)
	buf := make([]byte, 32<<10)
	for got, skipped := int64(0), int64(0); got+skipped < size; skipped, _ = p.(wsep.Skipper).Skipped() {
		n, err := p.Stdout().Read(buf)
		require.NoError(t, err)
		got += int64(n)
	}
	require.NoError(t, p.Close())
	_ = p.Wait()

	late, err := execer.Start(t.Context(), wsep.Command{ID: "1", Stdin: true})
	require.NoError(t, err)
	_, err = io.ReadFull(late.Stdout(), make([]byte, 100))
	require.NoError(t, err)
	stdout, stderr := late.(wsep.Skipper).Skipped()
	require.EqualValues(t, size-kept1, stdout)
	require.Zero(t, stderr)
	proxy.CutAll(cuttest.Reset)
	_, err = io.WriteString(late.Stdin(), "x\n")
	require.NoError(t, err)
	rest, err := io.ReadAll(late.Stdout())
	require.NoError(t, err)
	require.Len(t, rest, kept1-100+len("more\n"))
	require.NoError(t, late.Wait())
	stdout, _ = late.(wsep.Skipper).Skipped()
	require.EqualValues(t, size-kept1, stdout)
}

// TestKeptBelongsToItsOwner, counts, and is listed with its exit until it is forgotten.
func TestKeptBelongsToItsOwner(t *testing.T) {
	srv := wsep.NewServer()
	url := newServer(t, &wsep.Handler{
		Server: srv, Options: &wsep.Options{MaxProcesses: 2},
		Authorize: func(r *http.Request) (string, error) { return r.URL.Query().Get("owner"), nil },
	})
	t.Cleanup(srv.Close)
	a, b := wsep.Dialer{URL: url + "?owner=a"}, wsep.Dialer{URL: url + "?owner=b"}
	_, err := wsep.Output(t.Context(), a, kept("1", "echo a; exit 3"))
	require.Error(t, err)
	_, err = b.Start(t.Context(), wsep.Command{ID: "1"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = b.Start(t.Context(), kept("1", "exec sleep 1000"))
	require.NoError(t, err)

	infos := srv.Sessions()
	require.Len(t, infos, 2)
	require.Equal(t, "a", infos[0].Owner)
	require.True(t, infos[0].Exited)
	exit, _ := errors.AsType[wsep.ExitError](infos[0].Exit)
	require.Equal(t, 3, exit.ExitCode())
	require.EqualValues(t, 2, infos[0].Stdout)
	require.False(t, infos[1].Exited)
	_, err = b.Start(t.Context(), sh("true"))
	require.ErrorIs(t, err, wsep.ErrBusy)
	require.True(t, srv.CloseSession("a", "1", "forgotten"))
	require.True(t, srv.CloseSession("b", "1", "no longer wanted"))
	require.Empty(t, srv.Sessions())
}

// TestKeptSurvivesCuts: the command is started once, whatever breaks, and its client loses nothing.
func TestKeptSurvivesCuts(t *testing.T) {
	t.Parallel()
	url := serveCut(t, &wsep.Handler{})
	for after := int64(0); after < 1200; after += 60 {
		proxy := cuttest.New(t, url, cutFirst(cuttest.Plan{How: cuttest.Reset, Up: after%120 == 0, After: after}))
		runs := t.TempDir() + "/runs"
		c := kept(time.Duration(after).String(), "echo x >>"+runs+"; echo one; echo two; cat "+runs)
		out, err := wsep.Output(t.Context(), wsep.Dialer{URL: proxy.URL()}, c)
		require.NoError(t, err)
		require.Equal(t, "one\ntwo\nx\n", string(out))
	}
}
