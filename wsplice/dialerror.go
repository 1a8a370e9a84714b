package wsplice

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/gobwas/ws"
)

// dialError is a failure on the way to a remote. Its text is for the log. A client gets the text of refusal.
type dialError struct {
	doing string
	t     target
	err   error
}

func (e *dialError) Error() string { return e.doing + " " + e.t.String() + ": " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// refusal returns the text of an error of dial for a client. It has none of the system's words, because they contain
// addresses: this server's, its resolver's and those of the name.
func refusal(err error) string {
	failed, ok := errors.AsType[*dialError](err)
	if !ok {
		return err.Error() // It is about the client's own parameters.
	}
	return failed.doing + " " + failed.t.String() + ": " + dialReason(failed.err)
}

// dialReason returns the reason in this package's own words.
func dialReason(err error) string {
	status, answered := errors.AsType[ws.StatusError](err)
	lookup, isLookup := errors.AsType[*net.DNSError](err)
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case answered:
		return fmt.Sprintf("answered with status %d", status)
	case errors.Is(err, errAddress):
		return errAddress.Error()
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return "timed out"
	case isLookup && lookup.IsNotFound:
		return "no such host"
	case isLookup:
		return "name can't be looked up"
	case errors.Is(err, errRefused):
		return "connection refused"
	case isCertificate:
		return "certificate can't be verified"
	}
	return "failed"
}
