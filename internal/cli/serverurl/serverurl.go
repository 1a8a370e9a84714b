// Package serverurl parses the addresses of servers that people write.
package serverurl

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/xerrors"
)

// Parse returns the URL of a server. HOST or HOST:PORT alone is ws://, without TLS.
func Parse(s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "ws://" + s
	}
	u, err := url.Parse(s)
	if e, ok := err.(*url.Error); ok {
		return "", xerrors.Errorf("%q is no URL: %w", s, e.Err)
	}
	if err != nil {
		return "", err
	}
	if !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme) || u.Hostname() == "" {
		return "", xerrors.Errorf("%q is not HOST:PORT, ws://HOST or wss://HOST", s)
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return "", xerrors.Errorf("%q has a port above 65535", s)
	}
	return s, nil
}

// Secure reports whether connections to the URL use TLS.
func Secure(s string) bool {
	return strings.HasPrefix(s, "wss:") || strings.HasPrefix(s, "https:")
}
