package sshexec

import (
	"errors"
	"io/fs"
	"os/exec"

	"golang.org/x/crypto/ssh"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// lostError is wsep.ErrDisconnected with its cause.
type lostError struct{ cause error }

func (e *lostError) Error() string        { return "connection lost: " + e.cause.Error() }
func (e *lostError) Unwrap() error        { return e.cause }
func (e *lostError) Is(target error) bool { return target == wsep.ErrDisconnected }

// lost returns an error that wraps err and matches wsep.ErrDisconnected.
func lost(err error) error {
	if errors.Is(err, wsep.ErrDisconnected) {
		return err
	}
	return &lostError{err}
}

// unopenedError is the error of a session that was not opened because the connection was lost.
type unopenedError struct{ error }

func (e *unopenedError) Unwrap() error { return e.error }

// refusedError is the error of a session that the server refused to open.
type refusedError struct {
	*ssh.OpenChannelError
	surplus bool // the connection has had sessions
}

func (e *refusedError) Error() string { return "host refuses a session: " + e.OpenChannelError.Error() }
func (e *refusedError) Unwrap() error { return e.OpenChannelError }

// Is maps the server's reason to an error. When a connection has all the sessions that it may have (MaxSessions),
// OpenSSH gives the reason "connect failed". Before version 6.8 it gave "prohibited", and Teleport still does.
func (e *refusedError) Is(target error) bool {
	switch e.Reason {
	case ssh.ResourceShortage, ssh.ConnectionFailed:
		return target == wsep.ErrBusy
	case ssh.Prohibited:
		if e.surplus {
			return target == wsep.ErrBusy
		}
		return target == fs.ErrPermission
	case ssh.UnknownChannelType:
		return target == errors.ErrUnsupported
	}
	return false
}

// missingProgram is the error of a program that the host does not have.
type missingProgram struct{ reason string }

func (e *missingProgram) Error() string { return e.reason }

func (e *missingProgram) Is(target error) bool {
	return target == exec.ErrNotFound || target == fs.ErrNotExist
}

// errNoWarden means that a command did not start because its warden's directory does not exist any more. A program that
// tidies /tmp may have removed it.
var errNoWarden = xerrors.New("host has nobody to watch over the command")

// errNoNull means that the host can run nothing, such as a bare chroot.
var errNoNull = xerrors.New("host has no /dev/null that can be written")

// reasonError returns the error for a reason of start.sh.
func reasonError(c wsep.Command, reason string) error {
	switch reason {
	case "user":
		return xerrors.Errorf("run as user %d, group %d: login is another: %w", c.UID, c.GID, fs.ErrPermission)
	case "directory-missing":
		return xerrors.Errorf("working directory %s: %w", c.WorkingDir, fs.ErrNotExist)
	case "directory-file":
		return xerrors.Errorf("working directory %s: not a directory: %w", c.WorkingDir, wsep.ErrInvalidCommand)
	case "directory-denied":
		return xerrors.Errorf("working directory %s: %w", c.WorkingDir, fs.ErrPermission)
	case "program-missing":
		return &missingProgram{c.Command + ": executable file not found on host"}
	case "program-denied":
		return xerrors.Errorf("%s: %w", c.Command, fs.ErrPermission)
	case "program-format":
		return xerrors.Errorf("%s: neither a program nor a script that names its interpreter", c.Command)
	case "env":
		return &missingProgram{"env, which sets a command's variables, was not found on host"}
	case "null":
		return errNoNull
	case "warden":
		return errNoWarden
	case "interpreter-missing":
		return &missingProgram{c.Command + ": its interpreter was not found on host"}
	}
	return xerrors.Errorf("host says %q", reason)
}
