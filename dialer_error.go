package wsep

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/wsconn"
)

// notConnectedError is [ErrDisconnected] for a connection that could not be made, with its cause.
type notConnectedError struct{ cause error }

func (e *notConnectedError) Error() string        { return "dial: " + e.cause.Error() }
func (e *notConnectedError) Unwrap() error        { return e.cause }
func (e *notConnectedError) Is(target error) bool { return target == ErrDisconnected }

// dialError returns what Start returns for the error of a handshake. It is a StartError if another try does not help, or if
// the server is busy.
func dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &notConnectedError{ctx.Err()}
	}
	if start, ok := errors.AsType[*StartError](err); ok {
		return start
	}
	if status, ok := errors.AsType[*wsconn.StatusError](err); ok {
		refusal := &refusedHandshake{status}
		if refusal.passes() {
			return &notConnectedError{refusal}
		}
		return &StartError{refusal}
	}
	if isFinal(err) {
		return &StartError{xerrors.Errorf("dial: %w", err)}
	}
	return &notConnectedError{err}
}

// isFinal reports whether a handshake that got no status would fail again.
func isFinal(err error) bool {
	_, final := errors.AsType[*wsconn.FinalError](err)
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	_, noRoots := errors.AsType[x509.SystemRootsError](err)
	return final || unverified || noTLS || noRoots || errors.Is(err, http.ErrSchemeMismatch)
}

// refusedHandshake is a handshake that the server answered with a status other than 101.
type refusedHandshake struct{ answer *wsconn.StatusError }

func (e *refusedHandshake) Error() string {
	text := "server answered " + strconv.Itoa(e.answer.Status)
	if name := http.StatusText(e.answer.Status); name != "" {
		text += " " + name
	}
	if e.answer.Line != "" {
		text += ": " + strconv.Quote(e.answer.Line)
	}
	return text
}

func (e *refusedHandshake) Unwrap() error { return e.answer }

// Is reports whether the status is of target's kind (RFC 9110 section 15, RFC 6585 section 4).
func (e *refusedHandshake) Is(target error) bool {
	switch e.answer.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == fs.ErrPermission
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return target == ErrBusy
	}
	return false
}

// passes reports whether the status means a failed connection that may work later: the client's own, or one behind a proxy.
func (e *refusedHandshake) passes() bool {
	switch e.answer.Status {
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// checkURL returns an error unless the URL can be a server's.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return xerrors.Errorf("dial: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return xerrors.Errorf("dial %q: scheme is none of ws, wss, http and https", text)
	}
	if u.Host == "" {
		return xerrors.Errorf("dial %q: no host is named", text)
	}
	return nil
}
