package wsplice

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/xerrors"
)

// reservedHeaders are the headers that a client may not set: those of the handshake itself, those about the connection
// (RFC 9110 section 7.6.1), and those that announce a body. They are in lower case.
var reservedHeaders = []string{
	"host", "upgrade", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "content-length", "expect",
	"http2-settings",
}

// reservedPrefixes are the beginnings of more such headers, in lower case.
var reservedPrefixes = []string{"sec-websocket-", "proxy-"}

// checkHeader refuses headers that a client may not add to a handshake. It allows all others: Cookie, Authorization and
// Origin are between the client and the remote. The error matches errHeader.
func checkHeader(header http.Header) error {
	for name, values := range header {
		if !isToken(name) {
			return xerrors.Errorf("%q is not a header's name: %w", name, errHeader)
		}
		if isReserved(name) {
			return xerrors.Errorf("%s may not be set: %w", name, errHeader)
		}
		if slices.ContainsFunc(values, hasControl) {
			return xerrors.Errorf("control character in the value of %s: %w", name, errHeader)
		}
	}
	return nil
}

func isReserved(name string) bool {
	name = strings.ToLower(name)
	hasPrefix := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	return slices.Contains(reservedHeaders, name) || slices.ContainsFunc(reservedPrefixes, hasPrefix)
}

// hasControl reports whether s has a character that no header's value may have (RFC 9110 section 5.5).
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// checkSubprotocols refuses a list that a handshake may not have (RFC 6455 section 4.1). The error matches
// errSubprotocol.
func checkSubprotocols(subprotocols []string) error {
	for i, s := range subprotocols {
		if !isToken(s) {
			return xerrors.Errorf("%q is not a token: %w", s, errSubprotocol)
		}
		if slices.Contains(subprotocols[:i], s) {
			return xerrors.Errorf("%s is given twice: %w", s, errSubprotocol)
		}
	}
	return nil
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	outside := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
			!strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	return s != "" && !strings.ContainsFunc(s, outside)
}
