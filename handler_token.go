package wsep

import (
	"encoding/base64"
	"net/http"
	"strings"
)

const (
	// subprotocol is what a client offers that offers any, because a browser fails a connection on which none is chosen.
	subprotocol = "wsep"
	// tokenSubprotocol is what a token in base64url without padding follows.
	tokenSubprotocol = "wsep.token."
)

// TokenCookie is the name of the cookie in which Token finds a token. Set it with HttpOnly and SameSite=Strict, and with
// Secure where there is TLS.
const TokenCookie = "wsep-token"

// Token returns the token that a request presents, or "". It is for Handler.Authorize:
//
//	subtle.ConstantTimeCompare([]byte(wsep.Token(r)), secret) == 1
//
// A program sends it as a header, Authorization: Bearer TOKEN. A web page can set no header of a WebSocket: it offers the
// subprotocols "wsep", which Handler chooses, and "wsep.token." followed by the token in base64url without padding. Or its
// server has set a cookie. Of several that are presented the first of these counts; an empty one is not presented.
//
// No other web page can present a header or a subprotocol. A cookie is different: a browser sends it along with what any
// page asks for, so that Handler's check of Origin is all that keeps those pages out, and to every port of the host, so
// that whoever listens on another one is told it.
func Token(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); token != "" && strings.EqualFold(scheme, "Bearer") {
		return token
	}
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(header, ",") {
			encoded, ok := strings.CutPrefix(strings.TrimSpace(offered), tokenSubprotocol)
			if ok && encoded != "" {
				return decodeToken(encoded)
			}
		}
	}
	if cookie, err := r.Cookie(TokenCookie); err == nil {
		return cookie.Value
	}
	return ""
}

// decodeToken returns "" for what is not well-formed.
func decodeToken(encoded string) string {
	token, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return ""
	}
	return string(token)
}
