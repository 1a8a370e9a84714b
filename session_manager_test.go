//go:build linux

package wsep_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
	"cdr.dev/wsep/internal/timetest"
)

func TestManageSessions(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		_, dialer := sessionServer(t, opts)
		requireManaged(t, dialer, opts.Sessions == wsep.SessionsNative)
	})
	t.Run("Gateway", func(t *testing.T) {
		srv, behind := sessionServer(t, &wsep.Options{Sessions: wsep.SessionsNative})
		_, dialer := handlerServer(t, &wsep.Handler{Execer: behind})
		requireManaged(t, dialer, true)
		requireSessions(t, srv, 0)
	})
}

// requireManaged checks all questions about a session.
func requireManaged(t *testing.T, dialer wsep.Dialer, lines bool) {
	var m wsep.SessionManager = dialer
	list, err := m.Sessions(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)

	c := script("ünd s", `trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done`)
	c.Args, c.WorkingDir = append(c.Args, "an argument"), t.TempDir()
	began := time.Now()
	_, screen := startScreen(t, dialer, c)
	screen.waitFor("ready")
	list, err = m.Sessions(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.WithinRange(t, list[0].Started, began.Add(-time.Second), time.Now())
	list[0].Started = time.Time{}
	want := wsep.SessionInfo{
		ID: "ünd s", Clients: 1, State: wsep.StateReady,
		Command: wsep.Command{ID: c.ID, Command: c.Command, Args: c.Args, WorkingDir: c.WorkingDir, TTY: true},
	}
	if lines {
		want.LastLine = "ready"
	}
	require.Equal(t, want, list[0])

	ended := make(chan error, 1)
	go func() { ended <- m.WaitSession(t.Context(), c.ID) }()
	require.ErrorIs(t, m.SignalSession(t.Context(), c.ID, "NONSENSE"), errors.ErrUnsupported)
	require.NoError(t, m.SignalSession(t.Context(), c.ID, "USR1"))
	requireEndedWith(t, timetest.Receive(t, ended), 7)
	requireEndedWith(t, m.WaitSession(t.Context(), c.ID), 7, "it is remembered")

	_, screen = startScreen(t, dialer, script("2", "echo ready; exec sleep 1000"))
	screen.waitFor("ready")
	require.NoError(t, m.CloseSession(t.Context(), "2", "the test closes it"))
	require.ErrorContains(t, m.WaitSession(t.Context(), "2"), "the test closes it")
	list, err = m.Sessions(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	for _, id := range []string{"", "2", "none", "0::none"} {
		require.ErrorIs(t, m.CloseSession(t.Context(), id, ""), fs.ErrNotExist)
		require.ErrorIs(t, m.SignalSession(t.Context(), id, "INT"), fs.ErrNotExist)
	}
	require.ErrorIs(t, m.WaitSession(t.Context(), "none"), fs.ErrNotExist)
	require.EqualError(t, m.WaitSession(t.Context(), "none"), `there is no session "none"`)

	canceled, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, screen = startScreen(t, dialer, script("3", "echo ready; exec sleep 1000"))
	screen.waitFor("ready")
	require.ErrorIs(t, m.WaitSession(canceled, "3"), context.DeadlineExceeded)
	require.NoError(t, m.CloseSession(t.Context(), "3", ""))
}

func requireEndedWith(t *testing.T, err error, code int, why ...any) {
	t.Helper()
	exit, ok := errors.AsType[wsep.ExitError](err)
	require.True(t, ok, "%v %v", err, why)
	require.Equal(t, code, exit.ExitCode(), why...)
}

// TestManageOwners has two owners, with sessions of the same ID, and asks as each of them: at the server, and at a gateway
// that is one client of another server.
func TestManageOwners(t *testing.T) {
	t.Parallel()
	byName := func(r *http.Request) (string, error) { return r.Header.Get("Name"), nil }
	check := func(t *testing.T, dialer wsep.Dialer) {
		as := func(name string) wsep.Dialer {
			d := dialer
			d.Header = http.Header{"Name": {name}}
			return d
		}
		for _, name := range []string{"", "a", "b", "1:a"} {
			_, screen := startScreen(t, as(name), script("same", "echo of '"+name+"'; exec sleep 1000"))
			screen.waitFor("of " + name)
		}
		_, screen := startScreen(t, as(""), script("1:a:same", "echo ready; exec sleep 1000"))
		screen.waitFor("ready")
		require.Equal(t, []string{"same", "1:a:same"}, listed(t, as("")))
		for _, name := range []string{"a", "b", "1:a"} {
			require.Equal(t, []string{"same"}, listed(t, as(name)), name)
		}
		require.Empty(t, listed(t, as("c")))
		require.ErrorIs(t, as("c").CloseSession(t.Context(), "same", ""), fs.ErrNotExist)
		require.ErrorIs(t, as("a").CloseSession(t.Context(), "1:a:same", ""), fs.ErrNotExist)
		require.ErrorIs(t, as("c").SignalSession(t.Context(), "same", "KILL"), fs.ErrNotExist)
		require.ErrorIs(t, as("c").WaitSession(t.Context(), "same"), fs.ErrNotExist)
		require.NoError(t, as("a").CloseSession(t.Context(), "same", ""))
		require.ErrorIs(t, as("c").WaitSession(t.Context(), "same"), fs.ErrNotExist, "nor what is remembered")
		require.Empty(t, listed(t, as("a")))
		require.Equal(t, []string{"same"}, listed(t, as("b")))
		require.Equal(t, []string{"same", "1:a:same"}, listed(t, as("")))
	}
	t.Run("Server", func(t *testing.T) {
		_, dialer := handlerServer(t, &wsep.Handler{
			Authorize: byName, Options: &wsep.Options{Sessions: wsep.SessionsNative},
		})
		check(t, dialer)
	})
	t.Run("Gateway", func(t *testing.T) {
		_, behind := sessionServer(t, &wsep.Options{Sessions: wsep.SessionsNative})
		_, dialer := handlerServer(t, &wsep.Handler{Authorize: byName, Execer: behind})
		check(t, dialer)
	})
}

func listed(t *testing.T, m wsep.SessionManager) (ids []string) {
	t.Helper()
	list, err := m.Sessions(t.Context())
	require.NoError(t, err)
	for _, info := range list {
		ids = append(ids, info.ID)
	}
	return ids
}

// TestManageUnauthorized asks a server that refuses the client.
func TestManageUnauthorized(t *testing.T) {
	t.Parallel()
	_, dialer := handlerServer(t, &wsep.Handler{Authorize: func(*http.Request) (string, error) { return "", fs.ErrPermission }})
	_, err := dialer.Sessions(t.Context())
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorIs(t, dialer.WaitSession(t.Context(), "1"), fs.ErrPermission)
}

// TestWaitSessionOverCuts cuts the line of a client that waits: before the server has taken the question, and twice when it tells
// of the exit.
func TestWaitSessionOverCuts(t *testing.T) {
	t.Parallel()
	srv, direct := sessionServer(t, &wsep.Options{Sessions: wsep.SessionsNative})
	for _, how := range []cuttest.How{cuttest.Reset, cuttest.Close} {
		const asked = 20 // bytes of the first answer, with its frame
		var made atomic.Int64
		proxy := cuttest.New(t, direct.URL, func() cuttest.Plan {
			switch made.Add(1) {
			case 1:
				return cuttest.Plan{How: how, After: asked / 2}
			case 2, 3:
				return cuttest.Plan{How: how, After: asked}
			}
			return cuttest.Plan{}
		})
		_, screen := startScreen(t, direct, script("1", `trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done`))
		screen.waitFor("ready")
		ended := make(chan error, 1)
		go func() { ended <- wsep.Dialer{URL: proxy.URL(), Resume: patience}.WaitSession(t.Context(), "1") }()
		require.Eventually(t, func() bool { return made.Load() == 2 }, patience, time.Millisecond)
		require.NoError(t, direct.SignalSession(t.Context(), "1", "USR1"))
		requireEndedWith(t, timetest.Receive(t, ended), 7)
		require.EqualValues(t, 3, proxy.Cuts())
		requireSessions(t, srv, 0)
	}
}

// TestAttachOnly has clients with an ID and without a command.
func TestAttachOnly(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, dialer wsep.Dialer) {
		attach := wsep.Command{ID: "1", TTY: true, Stdin: true}
		_, err := dialer.Start(t.Context(), attach)
		start, ok := errors.AsType[*wsep.StartError](err)
		require.True(t, ok, "%v", err)
		require.ErrorIs(t, start, fs.ErrNotExist)
		require.Empty(t, listed(t, dialer))
		_, screen := startScreen(t, dialer, script("1", "echo ready; read line; exit 7"))
		screen.waitFor("ready")
		p, screen := startScreen(t, dialer, attach)
		screen.waitFor("ready")
		typeLine(t, p, "go")
		requireExit(t, p, 7)
	}
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		srv, dialer := sessionServer(t, opts)
		check(t, dialer)
		requireSessions(t, srv, 0)
	})
	t.Run("Gateway", func(t *testing.T) {
		_, behind := sessionServer(t, &wsep.Options{Sessions: wsep.SessionsNative})
		_, dialer := handlerServer(t, &wsep.Handler{Execer: behind})
		check(t, dialer)
	})
}

// TestAskRaw sends what no client of this version sends.
func TestAskRaw(t *testing.T) {
	t.Parallel()
	_, dialer := sessionServer(t, nil)
	for name, tc := range map[string]struct {
		messages []string
		want     string // the answer after asked
		code     int    // or the close code
	}{
		"a question of the future": {messages: []string{`{"type":"ask","question":"read"}`}, want: "ask_error"},
		"no question":              {messages: []string{`{"type":"ask"}`}, want: "ask_error"},
		"list":                     {messages: []string{`{"type":"ask","question":"list","id":"1"}`}, want: "sessions"},
		"twice":                    {messages: []string{`{"type":"ask","question":"list"}`, `{"type":"ask","question":"list"}`}, code: 1002},
		"stdin":                    {messages: []string{`{"type":"ask","question":"wait"}`, "{\"type\":\"stdin\"}\nx"}, code: 1002},
		"a start":                  {messages: []string{`{"type":"ask","question":"list"}`, `{"type":"start","command":{"command":"true"}}`}, code: 1002},
		"a resize":                 {messages: []string{`{"type":"ask","question":"list"}`, `{"type":"resize","rows":1,"cols":1}`}, code: 1002},
		"after a start": {messages: []string{
			`{"type":"start","command":{"command":"cat","stdin":true}}`, `{"type":"ask","question":"list"}`,
		}, code: 1002},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, dialer.URL)
			for _, m := range tc.messages {
				c.send(m)
			}
			m, err := c.read()
			for err == nil && (tc.code != 0 || m.Type == "asked") {
				m, err = c.read()
			}
			if tc.code != 0 {
				requireClosedWith(t, err, tc.code)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, m.Type)
		})
	}
}

func requireClosedWith(t *testing.T, err error, code int) {
	t.Helper()
	require.Equal(t, websocket.StatusCode(code), websocket.CloseStatus(err), "%v", err)
}
