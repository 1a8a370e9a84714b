package sshexec

import (
	"fmt"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/signame"
)

func exitError(code uint32) error {
	if code == 0 {
		return nil
	}
	return wsep.NewExitError(int(code), fmt.Sprintf("exit status %d", code))
}

// exitSignal is the body of an exit-signal request (RFC 4254 section 6.10).
type exitSignal struct {
	Name       string
	CoreDumped bool
	Message    string
	Language   string
}

func (s exitSignal) err() error {
	name, text := s.Name, "signal: "+s.Name
	if !signame.Known(name) {
		// OpenSSH has no name for most signals.
		name, text = "", "ended by a signal that the host does not name"
	}
	if s.CoreDumped {
		text += " (core dumped)"
	}
	return wsep.NewSignalError(name, text)
}
