package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"os"
	"strings"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// ReadToken reads a token from a file. It removes white space around the token, such as a line's end.
func ReadToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", xerrors.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if err := CheckToken(token); err != nil {
		return "", xerrors.Errorf("%s: %w", path, err)
	}
	return token, nil
}

// CheckToken returns an error if no request can carry the token.
func CheckToken(token string) error {
	if token == "" {
		return xerrors.New("token is empty")
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return xerrors.New("token has a character that is not printable ASCII, or white space")
		}
	}
	return nil
}

// Bearer returns the value of the Authorization header that presents the token (RFC 6750 section 2.1).
func Bearer(token string) string { return "Bearer " + token }

var errToken = xerrors.New("token is missing or wrong")

// Authorize returns a function for wsep.Handler.Authorize. It admits requests with the token, and gives all of them the
// same owner.
func Authorize(token string) func(*http.Request) (owner string, err error) {
	// Comparing the tokens themselves would take a time that depends on their lengths.
	want := sha256.Sum256([]byte(token))
	return func(r *http.Request) (string, error) {
		got := sha256.Sum256([]byte(wsep.Token(r)))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return "", errToken
		}
		return "", nil
	}
}
