package wsep

import (
	"context"
	"errors"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/signame"
)

// checkSignal returns an error for a name that is no signal on any system. It is for a process on another machine.
func checkSignal(signal string) error {
	if signame.Known(signal) {
		return nil
	}
	return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
}

// signalProcess sends a signal to a process, if it is a Signaler.
func signalProcess(ctx context.Context, p Process, signal string) error {
	s, ok := processAs[Signaler](p)
	if !ok {
		return xerrors.Errorf("signal %s: %w", signal, errors.ErrUnsupported)
	}
	return s.Signal(ctx, signal)
}
