//go:build !windows

package wsep_test

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
)

func TestToken(t *testing.T) {
	type headers = http.Header
	for _, tc := range []struct {
		name   string
		header headers
		want   string
	}{
		{"none", headers{}, ""},
		{"header", headers{"Authorization": {"Bearer abc"}}, "abc"},
		{"scheme in another case", headers{"Authorization": {"bearer abc"}}, "abc"},
		{"more than one space", headers{"Authorization": {"Bearer  abc "}}, "abc"},
		{"header without token", headers{"Authorization": {"Bearer"}}, ""},
		{"another scheme", headers{"Authorization": {"Basic abc"}}, ""},
		{"no scheme", headers{"Authorization": {"abc"}}, ""},
		{"subprotocol", offer("wsep, wsep.token.dMO2L2tlbj8-"), "tö/ken?>"},
		{"subprotocols without a space", offer("wsep,wsep.token.YWJj"), "abc"},
		{"subprotocols in two headers", offer("wsep", "wsep.token.YWJj"), "abc"},
		{"the first of two", offer("wsep.token.YWJj, wsep.token.ZGVm"), "abc"},
		{"padding", offer("wsep.token.YWI="), ""},
		{"standard alphabet", offer("wsep.token.dMO2L2tlbj8+"), ""},
		{"stray bits", offer("wsep.token.YWJ"), ""},
		{"empty", offer("wsep.token."), ""},
		{"another subprotocol", offer("wsep.tokens.YWJj"), ""},
		{"header before subprotocol", headers{
			"Authorization": {"Bearer abc"}, "Sec-Websocket-Protocol": {"wsep.token.ZGVm"},
		}, "abc"},
		{"cookie", headers{"Cookie": {"a=b; wsep-token=abc"}}, "abc"},
		{"cookie beside what is empty", headers{
			"Authorization": {"Bearer "}, "Sec-Websocket-Protocol": {"wsep, wsep.token."}, "Cookie": {"wsep-token=abc"},
		}, "abc"},
		{"subprotocol before cookie", headers{
			"Cookie": {"wsep-token=abc"}, "Sec-Websocket-Protocol": {"wsep.token.ZGVm"},
		}, "def"},
		{"subprotocol beside another scheme", headers{
			"Authorization": {"Basic abc"}, "Sec-Websocket-Protocol": {"wsep.token.ZGVm"},
		}, "def"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, wsep.Token(&http.Request{Header: tc.header}))
		})
	}
}

func offer(headers ...string) http.Header { return http.Header{"Sec-Websocket-Protocol": headers} }

// TestHandlerChoosesSubprotocol: the handler chooses an offered subprotocol, or none if none was offered. Browsers demand
// this.
func TestHandlerChoosesSubprotocol(t *testing.T) {
	url := newServer(t, &wsep.Handler{Authorize: secret("s3cret")})
	token := "wsep.token." + base64.RawURLEncoding.EncodeToString([]byte("s3cret"))
	for _, tc := range []struct {
		name    string
		offered []string
		header  http.Header
		chosen  string
	}{
		{"token", []string{"wsep", token}, nil, "wsep"},
		{"token first", []string{token, "wsep"}, nil, "wsep"},
		{"among others", []string{"chat", "wsep", token}, nil, "wsep"},
		{"none", nil, http.Header{"Authorization": {"Bearer s3cret"}}, ""},
		{"another", []string{"chat"}, http.Header{"Authorization": {"Bearer s3cret"}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
				Subprotocols: tc.offered, HTTPHeader: tc.header,
			})
			require.NoError(t, err)
			defer func() { _ = conn.CloseNow() }()
			require.Equal(t, tc.chosen, conn.Subprotocol())
		})
	}
	_, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"wsep", token + "x"}})
	require.Error(t, err)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
}

func secret(token string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		if subtle.ConstantTimeCompare([]byte(wsep.Token(r)), []byte(token)) != 1 {
			return "", errors.New("token is missing or wrong")
		}
		return "me", nil
	}
}

func TestHandlerAdmits(t *testing.T) {
	ask := func(h *wsep.Handler, change func(*http.Request)) (owner string, ok bool, status int) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
		change(r)
		owner, ok = h.Admit(w, r)
		return owner, ok, w.Code
	}
	h := &wsep.Handler{Execer: wsep.LocalExecer{}, Authorize: secret("s3cret")}
	for name, tc := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"nobody":  {func(*http.Request) {}, http.StatusUnauthorized},
		"foreign": {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, http.StatusForbidden},
		"rebound": {func(r *http.Request) { r.Host = "evil.example" }, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			owner, ok, status := ask(h, tc.change)
			require.False(t, ok)
			require.Empty(t, owner)
			require.Equal(t, tc.status, status)
		})
	}
	owner, ok, _ := ask(h, func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") })
	require.True(t, ok)
	require.Equal(t, "me", owner)

	open := &wsep.Handler{Execer: wsep.LocalExecer{}, Options: &wsep.Options{Owner: "all"}}
	owner, ok, _ = ask(open, func(*http.Request) {})
	require.True(t, ok)
	require.Equal(t, "all", owner)
}
