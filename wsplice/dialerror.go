package wsplice

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/gobwas/ws"
)

// dialError is a failure on the way to a remote. Its text is for the log. A client is told refusal's.
type dialError struct {
	doing string
	t     target
	err   error
}

func (e *dialError) Error() string { return e.doing + " " + e.t.String() + ": " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// refusal returns what a client is told of an error of dial. The system's words are not passed on: they name this
// server's addresses, its resolver's, and those that a name has.
func refusal(err error) string {
	failed, ok := errors.AsType[*dialError](err)
	if !ok {
		return err.Error() // Of what the client itself has asked for.
	}
	return failed.doing + " " + failed.t.String() + ": " + dialReason(failed.err)
}

// dialReason says what a client can make use of, in words of this program's own.
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
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case isCertificate:
		return "certificate can't be verified"
	}
	return "failed"
}
