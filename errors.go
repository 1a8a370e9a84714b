package wsep

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

var (
	// ErrDisconnected is matched by the errors of a lost connection, here or further down a chain. Then it is unknown
	// whether the command started, or how it exited. The error of a connection that could not be made, and may be made
	// later, matches it too.
	ErrDisconnected = xerrors.New("connection lost")
	// ErrResumeFailed is matched by the error of a process whose connection was lost, and could not be replaced in time, or
	// that the server could not take up again. The error matches [ErrDisconnected] too: see [Dialer.Resume].
	ErrResumeFailed = xerrors.New("process could not be resumed")
	// ErrBusy is matched by the error of a Start that a server refused because it is full: see [Options.MaxProcesses].
	ErrBusy = xerrors.New("too many processes")
	// ErrInvalidCommand is matched by the error of a Start whose command can't run anywhere: it has no program, a string has
	// a NUL byte or is not UTF-8 where it is sent to a peer, or it is too large to send.
	ErrInvalidCommand = xerrors.New("invalid command")
	// ErrInUse is returned by the second Start of an [Execer] that runs only one command.
	ErrInUse = xerrors.New("connection is in use by another command")

	errStdinDisabled = xerrors.New("stdin is not enabled for this command")
)

// errProcessDone is [os.ErrProcessDone] in the words of this package.
var errProcessDone error = processDoneError{}

type processDoneError struct{}

func (processDoneError) Error() string        { return "process has ended" }
func (processDoneError) Is(target error) bool { return target == os.ErrProcessDone }

// StartError says why a command did not start. Its chain matches [exec.ErrNotFound] for a missing program, [fs.ErrNotExist]
// for a missing program or directory, [fs.ErrPermission], [errors.ErrUnsupported], [ErrBusy] or [ErrInvalidCommand], if one
// of these is the reason. This is so for a local start, and for a start by a peer that sends reasons.
type StartError struct {
	Err error
}

const startErrorPrefix = "start command: "

func (e *StartError) Error() string { return startErrorPrefix + e.Err.Error() }

// Unwrap returns the reason.
func (e *StartError) Unwrap() error { return e.Err }

// kinds are the errors that keep their identity over the wire. The names are those of the specification. If an error matches
// several kinds, the first counts.
var kinds = []struct {
	name string
	is   []error
}{
	{"disconnected", []error{ErrDisconnected}},
	{"not_found", []error{exec.ErrNotFound, fs.ErrNotExist}},
	{"not_exist", []error{fs.ErrNotExist}},
	{"permission", []error{fs.ErrPermission}},
	{"invalid", []error{ErrInvalidCommand}},
	{"busy", []error{ErrBusy}},
	{"unsupported", []error{errors.ErrUnsupported}},
	{"canceled", []error{context.Canceled}},
	{"deadline", []error{context.DeadlineExceeded}},
}

// kindOther is the kind of an error that matches none of the above.
const kindOther = "other"

func kindOf(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.is[0]) {
			return k.name
		}
	}
	return kindOther
}

// remoteError is an error that a peer reported.
type remoteError struct {
	kind    string
	message string
}

func (e *remoteError) Error() string { return e.message }

// Is reports whether the peer's error is of target's kind.
func (e *remoteError) Is(target error) bool {
	for _, k := range kinds {
		if k.name != e.kind {
			continue
		}
		for _, is := range k.is {
			if is == target {
				return true
			}
		}
	}
	return false
}

// disconnectError is ErrDisconnected with its cause.
type disconnectError struct{ cause error }

func (e *disconnectError) Error() string        { return "connection lost: " + e.cause.Error() }
func (e *disconnectError) Unwrap() error        { return e.cause }
func (e *disconnectError) Is(target error) bool { return target == ErrDisconnected }

// disconnected wraps err so that it matches ErrDisconnected, unless it matches already.
func disconnected(err error) error {
	if errors.Is(err, ErrDisconnected) {
		return err
	}
	return &disconnectError{err}
}

// protocolError says that the peer broke the protocol. The connection is closed with its code.
type protocolError struct {
	err  error
	code int
}

func (e *protocolError) Error() string  { return e.err.Error() }
func (e *protocolError) Unwrap() error  { return e.err }
func (e *protocolError) closeCode() int { return e.code }

func protocolErrorf(format string, args ...any) error {
	return &protocolError{err: xerrors.Errorf(format, args...), code: statusProtocolError}
}

// outcome returns the exit message for an error that Wait returned.
func outcome(err error) proto.ExitCode {
	if err == nil {
		return proto.ExitCode{}
	}
	if exit, ok := errors.AsType[ExitError](err); ok && (exit.code != 0 || exit.signal != "") {
		return proto.ExitCode{ExitCode: exit.code, Error: cutString(exit.error, maxErrorText), Signal: exit.signal}
	}
	return proto.ExitCode{ExitCode: -1, Error: cutString(err.Error(), maxErrorText), Kind: kindOf(err)}
}

// maxErrorText bounds an error's text in a message, in bytes. Whatever an Execer returns, every peer then accepts the
// message: JSON needs at most six bytes for one.
const maxErrorText = 8 << 10

// outcomeError returns what Wait returns for an exit message.
func outcomeError(m proto.ExitCode) error {
	switch {
	case m.Kind != "":
		return &remoteError{kind: m.Kind, message: m.Error}
	case m.ExitCode != 0 || m.Signal != "":
		return ExitError{code: m.ExitCode, error: m.Error, signal: m.Signal}
	case m.Error != "":
		// A v0.2.4 server sends an error that is no exit code as exit code 0 with a text.
		return &remoteError{kind: kindOther, message: m.Error}
	}
	return nil
}

func toValidUTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
