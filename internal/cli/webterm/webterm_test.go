package webterm

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

func TestPage(t *testing.T) {
	url, _ := start(t, built, "secret")
	for path, want := range map[string]string{"/": "<title>page</title>", "/main.js": "1"} {
		resp, body := ask(t, http.MethodGet, url+path, nil)
		require.Equal(t, http.StatusOK, resp.StatusCode, "the page is public")
		require.Equal(t, want, body)
		require.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(t, resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	}
	resp, _ := ask(t, http.MethodGet, url+"/nothing", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	resp, _ = ask(t, http.MethodPost, url+"/", nil)
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}

func TestPageNotBuilt(t *testing.T) {
	url, _ := start(t, fstest.MapFS{}, "")
	resp, body := ask(t, http.MethodGet, url, nil)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, body, "ci/browser.sh --build")
}

func TestRequestsAreAdmittedLikeWebSockets(t *testing.T) {
	requests := []struct{ method, path string }{
		{http.MethodGet, "/api/server"},
		{http.MethodGet, "/api/sessions"},
		{http.MethodDelete, "/api/sessions?id=1"},
	}
	right := []string{"Bearer secret"}
	url, _ := start(t, built, "secret")
	for _, r := range requests {
		for name, tc := range map[string]struct {
			header http.Header
			status int
		}{
			"no token":       {http.Header{}, http.StatusUnauthorized},
			"wrong token":    {http.Header{"Authorization": {"Bearer x"}}, http.StatusUnauthorized},
			"foreign origin": {http.Header{"Authorization": right, "Origin": {"http://evil.example"}}, http.StatusForbidden},
			"foreign name":   {http.Header{"Authorization": right, "Host": {"evil.example"}}, http.StatusForbidden},
		} {
			resp, _ := ask(t, r.method, url+r.path, tc.header)
			require.Equal(t, tc.status, resp.StatusCode, "%s %s: %s", r.method, r.path, name)
		}
		for _, header := range []http.Header{{"Authorization": right}, {"Cookie": {wsep.TokenCookie + "=secret"}}} {
			resp, _ := ask(t, r.method, url+r.path, header)
			require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, resp.StatusCode)
		}
	}
}

func TestServer(t *testing.T) {
	home := t.TempDir()
	shell := filepath.Join(home, "a shell")
	require.NoError(t, os.Symlink("/bin/sh", shell))
	host, err := os.Hostname()
	require.NoError(t, err)
	for _, tc := range []struct{ shell, home, wantShell, wantHome string }{
		{shell, home, shell, home},
		{"", "", "sh", ""},
		{filepath.Join(home, "none"), filepath.Join(home, "none"), "sh", ""},
	} {
		t.Setenv("SHELL", tc.shell)
		t.Setenv("HOME", tc.home)
		url, _ := start(t, built, "")
		_, body := ask(t, http.MethodGet, url+"/api/server", nil)
		var answer about
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.Equal(t, machine{Host: host, Shell: tc.wantShell, Home: tc.wantHome}, answer.machine)
		require.WithinDuration(t, time.Now(), time.UnixMilli(answer.Since), time.Minute)
		require.True(t, answer.Scrollback)
	}
	url, handler := start(t, built, "")
	handler.Options = &wsep.Options{Sessions: wsep.SessionsScreen}
	_, body := ask(t, http.MethodGet, url+"/api/server", nil)
	require.Contains(t, body, `"scrollback":false`)
}

// TestServerOfAnotherMachine: commands run on another machine, with another environment. At first it can't be reached.
func TestServerOfAnotherMachine(t *testing.T) {
	url, handler := start(t, built, "")
	reachable := false
	handler.Execer = execerFunc(func(ctx context.Context, c wsep.Command) (wsep.Process, error) {
		if !reachable {
			return nil, wsep.ErrDisconnected
		}
		c.Env = append(c.Env, "SHELL=/bin/sh", "HOME=/")
		return wsep.LocalExecer{}.Start(ctx, c)
	})
	resp, _ := ask(t, http.MethodGet, url+"/api/server", nil)
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	reachable = true
	_, body := ask(t, http.MethodGet, url+"/api/server", nil)
	require.Contains(t, body, `"shell":"/bin/sh","home":"/"`)
	reachable = false
	resp, again := ask(t, http.MethodGet, url+"/api/server", nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, body, again)
}

func TestSessions(t *testing.T) {
	if _, err := exec.LookPath("screen"); err != nil {
		t.Skip("screen is not installed")
	}
	const id = "../a b&c?#"
	address, handler := start(t, built, "")
	list := func() (sessions []session) {
		_, body := ask(t, http.MethodGet, address+"/api/sessions", nil)
		require.NoError(t, json.Unmarshal([]byte(body), &sessions))
		require.NotNil(t, sessions, "an empty list is no null")
		return sessions
	}
	require.Empty(t, list())

	p, err := wsep.Dialer{URL: address}.Start(t.Context(), wsep.Command{
		ID: id, Command: "sleep", Args: []string{"300"}, TTY: true, Rows: 24, Cols: 80,
	})
	require.NoError(t, err)
	sessions := list()
	require.Len(t, sessions, 1)
	require.WithinDuration(t, time.Now(), time.UnixMilli(sessions[0].Started), time.Minute)
	sessions[0].Started = 0
	require.Equal(t, session{ID: id, Command: "sleep", Args: []string{"300"}, Clients: 1}, sessions[0])

	resp, _ := ask(t, http.MethodDelete, address+"/api/sessions?id=another", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Len(t, list(), 1)
	resp, _ = ask(t, http.MethodDelete, address+"/api/sessions?id="+url.QueryEscape(id), nil)
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Empty(t, list())
	require.Error(t, p.Wait())

	// A session of another owner does not exist for this one.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	handler.Options = &wsep.Options{Owner: "another"}
	_, err = wsep.Dialer{URL: address}.Start(ctx, wsep.Command{
		ID: id, Command: "sleep", Args: []string{"300"}, TTY: true, Rows: 24, Cols: 80,
	})
	require.NoError(t, err)
	require.Len(t, list(), 1)
	handler.Options = nil
	require.Empty(t, list())
	require.Equal(t, 1, handler.Server.SessionCount())
	resp, _ = ask(t, http.MethodDelete, address+"/api/sessions?id="+url.QueryEscape(id), nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Equal(t, 1, handler.Server.SessionCount())
}
