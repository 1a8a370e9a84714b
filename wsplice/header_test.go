package wsplice

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckHeader(t *testing.T) {
	for _, name := range []string{
		"Host", "hOST", "Upgrade", "connection", "Connection", "Sec-WebSocket-Key", "sec-websocket-protocol",
		"Sec-Websocket-Anything", "Content-Length", "Transfer-Encoding", "TE", "Trailer", "Keep-Alive", "Proxy-Connection",
		"Proxy-Authorization", "Expect", "", "a b", "a:", "a\r", "a\n", "a\x00", "a\r\nHost", "ä", "(a)", "Host ",
	} {
		require.ErrorIs(t, checkHeader(http.Header{name: {"x"}}), errHeader, "%q", name)
	}
	for _, value := range []string{"\r", "\n", "\x00", "a\r\nHost: b", "a\nb", "a\x7f", "a\x1b"} {
		require.ErrorIs(t, checkHeader(http.Header{"X": {"fine", value}}), errHeader, "%q", value)
	}
	require.NoError(t, checkHeader(nil))
	require.NoError(t, checkHeader(http.Header{
		"Cookie": {"a=b; c=d"}, "Authorization": {"Bearer x"}, "Origin": {"https://example.com"}, "X-Empty": {""},
		"X-Text": {"tab\there", "ümlaut"}, "User-Agent": {"me"}, "Hostess": {"x"},
	}))
}

func TestCheckSubprotocols(t *testing.T) {
	for _, s := range []string{"", "a b", "a,b", "a\r\nHost: b", "ä", "a/b", "\x00"} {
		require.ErrorIs(t, checkSubprotocols([]string{"ok", s}), errSubprotocol, "%q", s)
	}
	require.ErrorIs(t, checkSubprotocols([]string{"a", "b", "a"}), errSubprotocol)
	require.NoError(t, checkSubprotocols(nil))
	require.NoError(t, checkSubprotocols([]string{"a", "A", "v1.tty", "graphql-ws"}))
}

func FuzzCheckHeader(f *testing.F) {
	f.Add("Cookie", "a=b")
	f.Add("sec-websocket-key", "x")
	f.Add("X\r\nHost", "y\r\n")
	f.Fuzz(func(t *testing.T, name, value string) {
		if checkHeader(http.Header{name: {value}}) != nil {
			return
		}
		var text strings.Builder
		_, err := headerText(http.Header{name: {value}}).WriteTo(&text)
		require.NoError(t, err)
		// It must be one line, also for a reader that takes each of CR, LF and NUL for a line's end.
		line, ok := strings.CutSuffix(text.String(), "\r\n")
		require.True(t, ok)
		require.False(t, strings.ContainsAny(line, "\r\n\x00"))
		require.NotRegexp(t, `(?i)^(host|upgrade|connection|sec-websocket-.*|content-length):`, line)
	})
}
