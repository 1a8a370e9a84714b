package wsplice

import (
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"golang.org/x/xerrors"
)

// Which requests come from a web page that has no business here.

var (
	errHost   = xerrors.New("host is not among the allowed ones")
	errOrigin = xerrors.New("origin is not among the allowed ones")
)

// hostAllowed keeps out web pages that reach this server under a name of their own (DNS rebinding): their Origin and
// Host agree, but Host is not ours. No patterns means loopback.
func hostAllowed(patterns []string, hostport string) bool {
	name := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if patterns == nil {
		return isLoopback(name)
	}
	return matchesAny(patterns, name)
}

// originAllowed keeps out web pages of other origins, which a browser lets connect to any WebSocket (RFC 6455 section
// 10.2).
func originAllowed(patterns []string, r *http.Request) bool {
	origins := r.Header.Values("Origin")
	switch len(origins) {
	case 0:
		return true
	case 1:
	default:
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

// isLoopback reports whether a name always means the machine itself: an address of the loopback range, or a name that
// RFC 6761 section 6.3 reserves for it.
func isLoopback(name string) bool {
	if ip := net.ParseIP(name); ip != nil {
		return ip.IsLoopback()
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
