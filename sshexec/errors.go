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

// lost returns err as one that matches wsep.ErrDisconnected.
func lost(err error) error {
	if errors.Is(err, wsep.ErrDisconnected) {
		return err
	}
	return &lostError{err}
}

// unopenedError is a connection that was lost before there was a session on it.
type unopenedError struct{ error }

func (e *unopenedError) Unwrap() error { return e.error }

// refusedError is a channel that the server did not open.
type refusedError struct {
	*ssh.OpenChannelError
	surplus bool // there have been sessions on the connection
}

func (e *refusedError) Error() string { return "host refuses a session: " + e.OpenChannelError.Error() }
func (e *refusedError) Unwrap() error { return e.OpenChannelError }

// Is reports what the server's reason means for a session. OpenSSH, when a connection has as many as it may
// (MaxSessions), says that a connection failed, though none is to be made. Before 6.8 it said that sessions are
// prohibited, as Teleport does.
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

// missingProgram is a program that the host does not have.
type missingProgram struct{ reason string }

func (e *missingProgram) Error() string { return e.reason }

func (e *missingProgram) Is(target error) bool {
	return target == exec.ErrNotFound || target == fs.ErrNotExist
}

// errNoWarden is a command that did not start because its warden's directory is gone. Who tidies up /tmp may have
// removed it.
var errNoWarden = xerrors.New("host has nobody to watch over the command")

// errNoNull is a host on which nothing can be run, such as a bare chroot.
var errNoNull = xerrors.New("host has no /dev/null that can be written")

// reasonError returns why the command did not start, for what start.sh says.
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
