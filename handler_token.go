package wsep

import (
	"encoding/base64"
	"net/http"
	"strings"
)

const (
	// subprotocol is offered by each client that offers any: a browser fails a connection if the server chooses none.
	subprotocol = "wsep"
	// tokenSubprotocol is the prefix of a subprotocol with a token. The token is in base64url without padding.
	tokenSubprotocol = "wsep.token."
)

// TokenCookie is the name of the cookie that [Token] reads. Set it with HttpOnly and SameSite=Strict, and with Secure where
// there is TLS.
const TokenCookie = "wsep-token"

// Token returns the token that a request presents, or "". It is for [Handler.Authorize]:
//
//	subtle.ConstantTimeCompare([]byte(wsep.Token(r)), secret) == 1
//
// A request presents a token in one of three ways:
//
//   - a program sends a header, Authorization: Bearer TOKEN;
//   - a web page can't set a header of a WebSocket. It offers two subprotocols: "wsep", which [Handler] chooses, and
//     "wsep.token." followed by the token in base64url without padding;
//   - a server has set the cookie [TokenCookie] before.
//
// If there are several, the first in this order counts. An empty one counts as none.
//
// No other web page can present a header or a subprotocol. A cookie is weaker in two ways. A browser sends it with requests
// of any page, so only Handler's check of Origin keeps other pages out. And a browser sends it to every port of the host, so
// a server on another port learns the token.
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

// decodeToken returns "" for a malformed token.
func decodeToken(encoded string) string {
	token, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return ""
	}
	return string(token)
}
