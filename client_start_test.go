package wsep_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
)

// closingServer closes every connection in place of an answer to start.
func closingServer(t *testing.T, code int, reason string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		_, _, _ = conn.Read(r.Context())
		_ = conn.Close(websocket.StatusCode(code), reason)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestClosedBeforePid: a closed connection is a failed start only if the close reason says so.
func TestClosedBeforePid(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code   int
		reason string
		failed string // empty if the connection is lost
	}{
		{1011, "start command: no program", "start command: no program"},
		{1011, "start command with pty: no program", "start command: no program"},
		{1013, "start command: too many", "start command: too many"},
		{1001, "start command: connection lost", ""},
		{1011, "upstream timeout", ""},
		{1011, "", ""},
		{1012, "service restart", ""},
		{1013, "try again later", ""},
		{1014, "bad gateway", ""},
		{4000, "idle", ""},
		{1000, "bye", ""},
	} {
		_, err := wsep.Dialer{URL: closingServer(t, tc.code, tc.reason), Resume: time.Second}.Start(t.Context(), wsep.Command{Command: "true"})
		if tc.failed == "" {
			require.ErrorIs(t, err, wsep.ErrDisconnected, "%d %s", tc.code, tc.reason)
			require.NotErrorAs(t, err, new(*wsep.StartError), "%d %s", tc.code, tc.reason)
			continue
		}
		require.ErrorAs(t, err, new(*wsep.StartError), "%d %s", tc.code, tc.reason)
		require.EqualError(t, err, tc.failed)
		require.Equal(t, tc.code == 1013, errors.Is(err, wsep.ErrBusy))
	}
}
