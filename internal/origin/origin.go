// Package origin refuses requests of web pages that may not use a server.
package origin

import (
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"golang.org/x/xerrors"
)

var (
	// ErrHost is returned for a request that addresses the server by a name that is not allowed.
	ErrHost = xerrors.New("host is not among the allowed ones")
	// ErrOrigin is returned for a request of a web page whose origin is not allowed.
	ErrOrigin = xerrors.New("origin is not among the allowed ones")
)

// Check returns nil if a request may be served, and otherwise [ErrHost] or [ErrOrigin]. hosts and origins are patterns
// for [path.Match], in upper or lower case.
//
// The request's Host, without its port, must match one of hosts. nil allows loopback names and addresses. This keeps
// out pages that reach the server by a name of their own (DNS rebinding). Their Origin and Host agree, but Host is not
// the server's name.
//
// The request's Origin, if it has one, must be the server's own host or match one of origins. This keeps out the pages of
// other origins: a browser lets them connect to any WebSocket (RFC 6455 section 10.2).
func Check(r *http.Request, hosts, origins []string) error {
	if !hostAllowed(hosts, r.Host) {
		return ErrHost
	}
	if !originAllowed(origins, r) {
		return ErrOrigin
	}
	return nil
}

func hostAllowed(patterns []string, hostport string) bool {
	host := hostname(hostport)
	if patterns == nil {
		return isLoopback(host)
	}
	return matchesAny(patterns, host)
}

func originAllowed(patterns []string, r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	u, err := url.Parse(origins[0])
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, r.Host) || matchesAny(patterns, origins[0])
}

func matchesAny(patterns []string, s string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(s)); err == nil && ok {
			return true
		}
	}
	return false
}

// hostname returns a Host header without the port, and without an IPv6 address's brackets.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}

// isLoopback reports whether a host always means the machine itself: an address of the loopback range, or a name that
// RFC 6761 section 6.3 reserves for it. A name may end with the dot of the root.
func isLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
