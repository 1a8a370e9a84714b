package wsep_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// requireStart starts a command, which must fail. The error must match kind alone, or no kind if that is nil. It must be a
// StartError, unless it matches ErrDisconnected. Its text must not say that a connection was lost: there was none.
func requireStart(t *testing.T, execer wsep.Execer, kind error) (text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := execer.Start(ctx, wsep.Command{Command: "true"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "connection lost")
	for _, k := range []error{wsep.ErrDisconnected, wsep.ErrBusy, fs.ErrPermission} {
		require.Equal(t, k == kind, errors.Is(err, k), "%v: %v", k, err)
	}
	require.Equal(t, kind != wsep.ErrDisconnected, errors.As(err, new(*wsep.StartError)), err)
	return err.Error()
}

// gateway is a server that runs its commands with the execer.
func gateway(t *testing.T, execer wsep.Execer) wsep.Dialer {
	srv := httptest.NewServer(&wsep.Handler{Execer: execer})
	t.Cleanup(srv.Close)
	return wsep.Dialer{URL: srv.URL}
}

// TestHandshakeAnsweredByStatus: the error says whether another try may help, also behind a gateway.
func TestHandshakeAnsweredByStatus(t *testing.T) {
	for status, kind := range map[int]error{
		200: nil, 204: nil, 304: nil, 400: nil, 404: nil, 407: nil, 410: nil, 426: nil, 500: nil, 501: nil, 599: nil,
		401: fs.ErrPermission, 403: fs.ErrPermission,
		429: wsep.ErrBusy, 503: wsep.ErrBusy,
		408: wsep.ErrDisconnected, 502: wsep.ErrDisconnected, 504: wsep.ErrDisconnected,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = w.Write([]byte("the \x1b[31mreason\nand more"))
			}))
			defer page.Close()
			execer := wsep.Dialer{URL: page.URL}
			text := requireStart(t, execer, kind)
			require.Contains(t, text, fmt.Sprintf("server answered %d", status))
			require.Contains(t, text, http.StatusText(status))
			if status != 204 && status != 304 { // These have no body.
				require.Contains(t, text, `"the \x1b[31mreason"`)
			}
			require.NotContains(t, text, "more")
			require.Equal(t, text, requireStart(t, gateway(t, execer), kind))
		})
	}
}

// TestHandshakeThatFailsAgain: these failures have no status from a server, and would fail again.
func TestHandshakeThatFailsAgain(t *testing.T) {
	handler := &wsep.Handler{Execer: wsep.LocalExecer{}}
	plain, encrypted := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	defer plain.Close()
	encrypted.StartTLS()
	defer encrypted.Close()
	trusting := encrypted.Client()
	otherName := trusting.Transport.(*http.Transport).Clone()
	otherName.TLSClientConfig.ServerName = "other.example"
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/again", http.StatusFound)
	}))
	defer loop.Close()
	away := httptest.NewServer(http.RedirectHandler("ftp://127.0.0.1/", http.StatusFound))
	defer away.Close()
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n"))
			_ = conn.Close()
		}
	}))
	defer half.Close()
	for name, execer := range map[string]wsep.Dialer{
		"unknown authority":   {URL: encrypted.URL},
		"another name":        {URL: encrypted.URL, HTTPClient: &http.Client{Transport: otherName}},
		"no TLS":              {URL: strings.Replace(plain.URL, "http", "wss", 1)},
		"TLS":                 {URL: strings.Replace(encrypted.URL, "https", "ws", 1)},
		"redirects":           {URL: loop.URL},
		"redirect elsewhere":  {URL: away.URL},
		"not a WebSocket":     {URL: half.URL},
		"no URL":              {URL: ""},
		"a word":              {URL: "nonsense"},
		"no scheme":           {URL: "127.0.0.1:8080"},
		"unsupported scheme":  {URL: "ftp://127.0.0.1"},
		"no host":             {URL: "ws:///path"},
		"a header of 2 lines": {URL: plain.URL, Header: http.Header{"Authorization": {"Bearer x\n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			text := requireStart(t, execer, nil)
			require.Equal(t, text, requireStart(t, gateway(t, execer), nil))
		})
	}
}

// TestHandshakeThatMayPass: these failures may not happen the next time.
func TestHandshakeThatMayPass(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	unknown := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "new.example", IsNotFound: true}
		},
	}}
	for name, execer := range map[string]wsep.Dialer{
		"refused":      {URL: "ws://127.0.0.1:1"},
		"silent":       {URL: "ws://" + silent.Addr().String(), HTTPClient: &http.Client{Timeout: 50 * time.Millisecond}},
		"unknown host": {URL: "ws://new.example", HTTPClient: unknown},
	} {
		t.Run(name, func(t *testing.T) {
			text := requireStart(t, execer, wsep.ErrDisconnected)
			require.Equal(t, text, requireStart(t, gateway(t, execer), wsep.ErrDisconnected))
		})
	}

	t.Run("context", func(t *testing.T) {
		execer := wsep.Dialer{URL: "ws://" + silent.Addr().String()}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		for range 2 { // The second has ended before.
			_, err := execer.Start(ctx, wsep.Command{Command: "true"})
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, wsep.ErrDisconnected)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := execer.Start(ctx, wsep.Command{Command: "true"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
