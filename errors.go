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
	// ErrDisconnected is matched by errors that say that a connection failed, here or further down a chain, so that
	// it is not known whether or how the command ended. So is the error of a connection that could not be made, and may be
	// made later.
	ErrDisconnected = xerrors.New("connection lost")
	// ErrBusy is matched by the error of a Start that a server refused because it runs as many processes as it may.
	ErrBusy = xerrors.New("too many processes")
	// ErrInvalidCommand is matched by the error of a Start whose command can't be run by anyone: it has no program, a
	// NUL byte in a string, or is too large to be sent.
	ErrInvalidCommand = xerrors.New("invalid command")
	// ErrInUse is returned by Start of an Execer that runs one command only, when that command has been started.
	ErrInUse = xerrors.New("connection is in use by another command")

	errProcessDone   = xerrors.Errorf("process has ended: %w", os.ErrProcessDone)
	errStdinDisabled = xerrors.New("stdin is not enabled for this command")
)

// StartError says why a command did not start. Its chain matches exec.ErrNotFound for a missing program,
// fs.ErrNotExist for that or a missing directory, fs.ErrPermission, errors.ErrUnsupported, ErrBusy and
// ErrInvalidCommand, as the case may be, whether the command was started locally or by a peer that can tell.
type StartError struct {
	Err error
}

const startErrorPrefix = "start command: "

func (e *StartError) Error() string { return startErrorPrefix + e.Err.Error() }

// Unwrap returns the reason.
func (e *StartError) Unwrap() error { return e.Err }

// kinds are the errors that keep their identity over the wire, under the names by which the specification calls them.
// Where several match, the first names the error.
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

// kindOther is the kind of an error that is none of the above.
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

// Is reports whether the peer's error was of target's kind.
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

// disconnected returns err as one that matches ErrDisconnected.
func disconnected(err error) error {
	if errors.Is(err, ErrDisconnected) {
		return err
	}
	return &disconnectError{err}
}

// protocolError is a peer that does not speak the protocol. It ends the connection.
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

// outcome returns the exit message for what Wait returned.
func outcome(err error) proto.ExitCode {
	if err == nil {
		return proto.ExitCode{}
	}
	if exit, ok := errors.AsType[ExitError](err); ok && (exit.code != 0 || exit.signal != "") {
		return proto.ExitCode{ExitCode: exit.code, Error: cutString(exit.error, maxErrorText), Signal: exit.signal}
	}
	return proto.ExitCode{ExitCode: -1, Error: cutString(err.Error(), maxErrorText), Kind: kindOf(err)}
}

// maxErrorText bounds an error's text in a message, so that the message stays within what every peer accepts whatever
// an Execer returns. JSON may write a byte in six.
const maxErrorText = 8 << 10

// outcomeError returns what Wait returns for an exit message.
func outcomeError(m proto.ExitCode) error {
	switch {
	case m.Kind != "":
		return &remoteError{kind: m.Kind, message: m.Error}
	case m.ExitCode != 0 || m.Signal != "":
		return ExitError{code: m.ExitCode, error: m.Error, signal: m.Signal}
	case m.Error != "":
		// A v0.2.4 server reports an error that is no exit code as exit code 0 with a text.
		return &remoteError{kind: kindOther, message: m.Error}
	}
	return nil
}

func toValidUTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
