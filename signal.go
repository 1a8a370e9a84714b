package wsep

import (
	"context"
	"errors"

	"golang.org/x/xerrors"
)

// signalProcess sends a signal to a process, if it takes any.
func signalProcess(ctx context.Context, p Process, signal string) error {
	s, ok := p.(Signaler)
	if !ok {
		return xerrors.Errorf("signal %s: %w", signal, errors.ErrUnsupported)
	}
	return s.Signal(ctx, signal)
}
