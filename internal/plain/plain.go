// Package plain has words for people: why a connection could not be made or was lost, and why a server can't listen.
package plain

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/gobwas/ws"

	"cdr.dev/wsep/internal/wsconn"
)

// goingAway is the close code of a server that shuts down (RFC 6455 section 7.4.1).
const goingAway = 1001

// Connection returns words for the error of a connection that could not be made or was lost. It reports false for other
// errors, and for those whose own text is good enough.
func Connection(err error) (words string, ok bool) {
	for _, say := range []func(error) string{status, certificate, network, closeFrame} {
		if words := say(err); words != "" {
			return words, true
		}
	}
	return "", false
}

// status returns words for the answer to a handshake.
func status(err error) string {
	code, line := 0, ""
	if refused, ok := errors.AsType[*wsconn.StatusError](err); ok {
		code, line = refused.Status, refused.Line
	} else if refused, ok := errors.AsType[ws.StatusError](err); ok {
		code = int(refused)
	} else {
		return ""
	}
	switch code {
	case http.StatusUnauthorized:
		return "the server refused the token (401), or wants one"
	case http.StatusForbidden:
		return "the server refused this client (403)"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fmt.Sprintf("the server is busy (%d)", code)
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return fmt.Sprintf("the proxy before the server does not reach it (%d)", code)
	}
	if line == "" {
		return fmt.Sprintf("no server for this client is there: the answer has status %d", code)
	}
	return fmt.Sprintf("no server for this client is there: the answer has status %d and says %s", code, strconv.Quote(line))
}

// certificate returns words for a failure of TLS.
func certificate(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the server's certificate is from an authority that is not trusted here"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the server's certificate is for another name"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "the server's certificate has expired or is not valid yet"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate can't be verified"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "the server does not speak TLS there"
	}
	// crypto/tls tells so of an alert that the server has sent.
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		return fmt.Sprintf("the server refused this client's certificate, or wants one (%v)", alert.Err)
	}
	return ""
}

// network returns words for an error of the system.
func network(err error) string {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		if lookup.IsNotFound {
			return fmt.Sprintf("there is no host %q", lookup.Name)
		}
		return fmt.Sprintf("the host %q can't be looked up now", lookup.Name)
	}
	where := "the server"
	failed, ok := errors.AsType[*net.OpError](err)
	if dialing := ok && failed.Op == "dial" && failed.Addr != nil; dialing {
		where = failed.Addr.String()
	}
	switch {
	case errors.Is(err, errRefused):
		return "nothing listens at " + where
	case errors.Is(err, errNoHost), errors.Is(err, errNoNetwork):
		return where + " can't be reached from here"
	case ok && errors.Is(err, context.DeadlineExceeded), ok && os.IsTimeout(failed):
		return where + " does not answer"
	case errors.Is(err, errReset), errors.Is(err, errPipe):
		return "connection lost: " + where + " has cut it"
	}
	return ""
}

// closeFrame returns words for the server's close frame.
func closeFrame(err error) string {
	var closed interface{ CloseStatus() (int, string) }
	if !errors.As(err, &closed) {
		return ""
	}
	code, reason := closed.CloseStatus()
	switch {
	case code == goingAway:
		return "connection lost: the server was shut down, or gave the connection up"
	case reason == "":
		return fmt.Sprintf("the server closed the connection (%d)", code)
	}
	return fmt.Sprintf("the server closed the connection (%d): %s", code, strconv.Quote(reason))
}

// Listening returns the error of a server that can't listen at the address, in words for people if there are some. It
// wraps err.
func Listening(address string, err error) error {
	words := ""
	switch {
	case errors.Is(err, errInUse):
		words = address + " is in use by another program"
	case errors.Is(err, errNoAddress):
		words = address + " is no address of this machine"
	case errors.Is(err, os.ErrPermission):
		words = "this user may not listen at " + address
	default:
		return err
	}
	return &listenError{words, err}
}

// listenError is an error with other words.
type listenError struct {
	words string
	err   error
}

func (e *listenError) Error() string { return e.words }
func (e *listenError) Unwrap() error { return e.err }
