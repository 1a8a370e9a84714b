package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/peerlog"
	"cdr.dev/wsep/internal/plain"
	"cdr.dev/wsep/internal/wsconn"
)

// The exit codes that are not the command's: those of timeout(1), of the shell (POSIX, Exit Status for Commands) and of
// ssh(1).
const (
	ExitUsage      = 2
	ExitTimeout    = 124
	ExitNotStarted = 126
	ExitNotFound   = 127
	ExitSignalled  = 128 // and the signal's number
	ExitFailed     = 255
)

// signalError says that a signal made this program leave the command.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return e.signal.String() }

// outputError returns the error of this program's stdout or stderr. For a closed pipe it is SIGPIPE. The system would have
// killed this program with it, without restoring the terminal.
func outputError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE):
		return signalError{syscall.SIGPIPE}
	}
	return xerrors.Errorf("write output: %w", err)
}

// ExitCode returns this program's exit code for the command's exit.
func ExitCode(err error) int {
	if exit, ok := errors.AsType[wsep.ExitError](err); ok {
		return commandCode(exit)
	}
	if s, ok := errors.AsType[signalError](err); ok {
		return ExitSignalled + int(s.signal)
	}
	_, notStarted := errors.AsType[*wsep.StartError](err)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errTimeout):
		return ExitTimeout
	case errors.Is(err, wsep.ErrDisconnected), NotConnected(err):
		return ExitFailed
	case errors.Is(err, exec.ErrNotFound):
		return ExitNotFound
	case notStarted:
		return ExitNotStarted
	}
	return ExitFailed
}

// NotConnected reports whether this program got no connection, and would get none if it tried again. Errors of a server's own
// connections do not count.
func NotConnected(err error) bool {
	_, answered := errors.AsType[*wsconn.StatusError](err)
	_, final := errors.AsType[*wsconn.FinalError](err)
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	return answered || final || unverified || noTLS || errors.Is(err, http.ErrSchemeMismatch)
}

// commandCode returns the code of a command that failed. The system cuts codes to 8 bits. So a larger code becomes a general
// failure, and never success. An unknown signal does too.
func commandCode(exit wsep.ExitError) int {
	if n := signalNumber(exit.Signal()); n > 0 {
		return ExitSignalled + n
	}
	if code := exit.ExitCode(); code > 0 && code <= 255 {
		return code
	}
	return ExitFailed
}

// Report prints what the exit code can't say, after the program's name.
func Report(program string, err error) {
	if words := words(err); words != "" {
		fmt.Fprintf(os.Stderr, "%s: %s\n", program, peerlog.Text(words)) // A server's words may be hostile.
	}
}

// words returns a message for the user. It is empty if the exit code says enough.
func words(err error) string {
	exit, exited := errors.AsType[wsep.ExitError](err)
	_, signalled := errors.AsType[signalError](err)
	switch {
	case err == nil, signalled:
		return ""
	case exited && commandCode(exit) == ExitFailed && exit.ExitCode() != ExitFailed:
		return "command ended: " + exit.Error()
	case exited:
		return ""
	}
	if errors.Is(err, wsep.ErrDisconnected) || NotConnected(err) {
		if words, ok := plain.Connection(err); ok {
			return words
		}
	}
	return err.Error()
}
