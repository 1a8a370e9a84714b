package webterm

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
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
	right := []string{"Bearer secret"}
	url, _ := start(t, built, "secret")
	const path = "/api/server"
	for name, tc := range map[string]struct {
		header http.Header
		status int
	}{
		"no token":       {http.Header{}, http.StatusUnauthorized},
		"wrong token":    {http.Header{"Authorization": {"Bearer x"}}, http.StatusUnauthorized},
		"foreign origin": {http.Header{"Authorization": right, "Origin": {"http://evil.example"}}, http.StatusForbidden},
		"foreign name":   {http.Header{"Authorization": right, "Host": {"evil.example"}}, http.StatusForbidden},
	} {
		resp, _ := ask(t, http.MethodGet, url+path, tc.header)
		require.Equal(t, tc.status, resp.StatusCode, name)
	}
	for _, header := range []http.Header{{"Authorization": right}, {"Cookie": {wsep.TokenCookie + "=secret"}}} {
		resp, _ := ask(t, http.MethodGet, url+path, header)
		require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, resp.StatusCode)
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
