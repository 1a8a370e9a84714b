package wsconn

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatusError(t *testing.T) {
	for _, tc := range []struct {
		name, body, line string
		status           int
	}{
		{"text", "no\r\nmore\n", "no", http.StatusUnauthorized},
		{"nothing", "", "", http.StatusForbidden},
		{"much", strings.Repeat("x", 1<<16), strings.Repeat("x", maxLine), http.StatusServiceUnavailable},
		{"success of another kind", "page", "page", http.StatusOK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer server.Close()
			_, err := Dial(t.Context(), server.URL, nil, nil, nil)
			var refused *StatusError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, tc.status, refused.Status)
			require.Equal(t, tc.line, refused.Line)
		})
	}
	_, err := Dial(t.Context(), "ws://127.0.0.1:1", nil, nil, nil)
	require.Error(t, err)
	require.NotErrorAs(t, err, new(*StatusError))
}
