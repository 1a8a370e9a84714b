//go:build !windows

package wsep_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
)

// tryHandshake makes a handshake with the Host and headers and returns the response's status.
func tryHandshake(t *testing.T, url, host string, header http.Header) int {
	t.Helper()
	conn, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Host: host, HTTPHeader: header})
	if err == nil {
		_ = conn.CloseNow()
	}
	require.NotNil(t, resp, "%v", err)
	return resp.StatusCode
}

const accepted = http.StatusSwitchingProtocols

func TestHandlerChecksHost(t *testing.T) {
	for _, tc := range []struct {
		allowed []string
		host    string
		status  int
	}{
		{nil, "", accepted},
		{nil, "localhost", accepted},
		{nil, "LOCALHOST:8080", accepted},
		{nil, "app.localhost:8080", accepted},
		{nil, "127.0.0.1", accepted},
		{nil, "127.1.2.3:99", accepted},
		{nil, "[::1]:8080", accepted},
		{nil, "[::1]", accepted},
		{nil, "evil.example.com", http.StatusForbidden},
		{nil, "evil.example.com:8080", http.StatusForbidden},
		{nil, "localhost.evil.example.com", http.StatusForbidden},
		{nil, "evillocalhost", http.StatusForbidden},
		{nil, "127.0.0.1.evil.example.com", http.StatusForbidden},
		{nil, "192.168.1.1", http.StatusForbidden},
		{[]string{"my.example.com"}, "my.example.com:443", accepted},
		{[]string{"my.example.com"}, "MY.example.com", accepted},
		{[]string{"*.example.com"}, "a.example.com", accepted},
		{[]string{"*.example.com"}, "example.com", http.StatusForbidden},
		{[]string{"my.example.com"}, "localhost", http.StatusForbidden},
		{[]string{}, "localhost", http.StatusForbidden},
		{[]string{"*"}, "whatever.example.com", accepted},
		{[]string{"[bad"}, "whatever.example.com", http.StatusForbidden},
	} {
		t.Run(fmt.Sprintf("%v/%s", tc.allowed, tc.host), func(t *testing.T) {
			url := newServer(t, &wsep.Handler{AllowedHosts: tc.allowed})
			require.Equal(t, tc.status, tryHandshake(t, url, tc.host, nil))
		})
	}
}

func TestHandlerChecksOrigin(t *testing.T) {
	url := newServer(t, &wsep.Handler{
		AllowedHosts:   []string{"server.example.com"},
		AllowedOrigins: []string{"https://friend.example.com", "https://*.friends.example.com"},
	})
	for origin, status := range map[string]int{
		"":                                   accepted,
		"http://server.example.com:8080":     accepted,
		"https://server.example.com:8080":    accepted,
		"https://friend.example.com":         accepted,
		"https://FRIEND.example.com":         accepted,
		"https://one.friends.example.com":    accepted,
		"http://friend.example.com":          http.StatusForbidden,
		"https://server.example.com":         http.StatusForbidden, // another port is another origin
		"http://server.example.com:81":       http.StatusForbidden,
		"https://evil.example.com":           http.StatusForbidden,
		"https://server.example.com.evil.co": http.StatusForbidden,
		"null":                               http.StatusForbidden,
		"file://":                            http.StatusForbidden,
		"::bad::":                            http.StatusForbidden,
	} {
		t.Run(origin, func(t *testing.T) {
			header := http.Header{}
			if origin != "" {
				header.Set("Origin", origin)
			}
			require.Equal(t, status, tryHandshake(t, url, "server.example.com:8080", header))
		})
	}
	require.Equal(t, http.StatusForbidden, tryHandshake(t, url, "server.example.com:8080",
		http.Header{"Origin": {"http://server.example.com:8080", "https://evil.example.com"}}))
}

func TestHandlerAuthorizes(t *testing.T) {
	asked := 0
	url := newServer(t, &wsep.Handler{
		Authorize: func(r *http.Request) (string, error) {
			asked++
			switch r.Header.Get("Authorization") {
			case "Bearer good":
				return "me", nil
			case "Bearer known":
				return "", fmt.Errorf("not you: %w", fs.ErrPermission)
			}
			return "", errors.New("who are you, secretly?")
		},
	})
	status := func(token string) int {
		return tryHandshake(t, url, "", http.Header{"Authorization": {"Bearer " + token}})
	}
	require.Equal(t, accepted, status("good"))
	require.Equal(t, http.StatusForbidden, status("known"))
	require.Equal(t, http.StatusUnauthorized, status("bad"))
	require.Equal(t, 3, asked)
	require.Equal(t, http.StatusForbidden, tryHandshake(t, url, "evil.example.com", nil))
	require.Equal(t, 3, asked, "a request of a foreign page is refused before anybody is asked")

	// The reason is only in the log.
	recorder := httptest.NewRecorder()
	h := &wsep.Handler{
		Execer:    wsep.LocalExecer{},
		Authorize: func(*http.Request) (string, error) { return "", errors.New("secret") },
	}
	h.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "http://localhost/", nil))
	require.Equal(t, http.StatusUnauthorized, recorder.Code)
	require.NotContains(t, recorder.Body.String(), "secret")

	p, err := wsep.Dialer{URL: url, Header: http.Header{"Authorization": {"Bearer good"}}}.
		Start(t.Context(), wsep.Command{Command: "true"})
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	_, err = wsep.Dialer{URL: url}.Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorIs(t, err, fs.ErrPermission)
}

func TestHandlerWithoutExecer(t *testing.T) {
	recorder := httptest.NewRecorder()
	new(wsep.Handler).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "http://localhost/", nil))
	require.Equal(t, http.StatusInternalServerError, recorder.Code)
}

func TestHandlerCompressesNothing(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	conn, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
	require.NoError(t, err)
	defer func() { _ = conn.CloseNow() }()
	require.Empty(t, resp.Header.Get("Sec-WebSocket-Extensions"))
}

func TestHandlerTellsThatItGoesAway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &wsep.Handler{Execer: wsep.LocalExecer{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(ctx))
	}))
	defer srv.Close()
	c := dialRaw(t, srv.URL)
	c.send(startSleep)
	m, err := c.read()
	require.NoError(t, err)
	cancel()
	code, _ := c.closed()
	require.Equal(t, websocket.StatusGoingAway, code)
	requireGone(t, patience, []int{m.Pid})
}
