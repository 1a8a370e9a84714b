package serverurl

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8080":       "ws://127.0.0.1:8080",
		"localhost:8080":       "ws://localhost:8080",
		"[::1]:8080/path":      "ws://[::1]:8080/path",
		"host":                 "ws://host",
		"ws://host:1":          "ws://host:1",
		"wss://host":           "wss://host",
		"https://host/a?b=c":   "https://host/a?b=c",
		"http://127.0.0.1:800": "http://127.0.0.1:800",
	} {
		got, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "ws://", "ftp://host", "host:port", "ws://a b", ":8080", "ws://:8080", "host:65536"} {
		_, err := Parse(text)
		require.Error(t, err, text)
	}
}
