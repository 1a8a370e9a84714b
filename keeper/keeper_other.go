//go:build !linux && !darwin && !freebsd

package keeper

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// Main does nothing on this system.
func Main() {}

func (Execer) start(context.Context, wsep.Command) (wsep.Process, error) {
	return nil, &wsep.StartError{Err: errNoKeeper()}
}

func (Execer) processCount(context.Context) (int, error) { return 0, errNoKeeper() }

func (Execer) peers(context.Context) ([]wsep.Dialer, error) { return nil, errNoKeeper() }

func errNoKeeper() error {
	return xerrors.Errorf("no keeper on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
