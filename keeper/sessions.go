package keeper

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

var _ wsep.SessionManager = Execer{}

// Sessions implements [wsep.SessionManager].
func (e Execer) Sessions(ctx context.Context) ([]wsep.SessionInfo, error) {
	peers, err := e.peers(ctx)
	if err != nil {
		return nil, err
	}
	var all []wsep.SessionInfo
	for _, d := range peers {
		infos, err := d.Sessions(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, infos...)
	}
	slices.SortStableFunc(all, func(a, b wsep.SessionInfo) int { return a.Started.Compare(b.Started) })
	return all, nil
}

// WaitSession implements [wsep.SessionManager].
func (e Execer) WaitSession(ctx context.Context, id string) error {
	return e.ask(ctx, id, func(d wsep.Dialer) error { return d.WaitSession(ctx, id) })
}

// CloseSession implements [wsep.SessionManager].
func (e Execer) CloseSession(ctx context.Context, id, reason string) error {
	return e.ask(ctx, id, func(d wsep.Dialer) error { return d.CloseSession(ctx, id, reason) })
}

// SignalSession implements [wsep.SessionManager].
func (e Execer) SignalSession(ctx context.Context, id, signal string) error {
	return e.ask(ctx, id, func(d wsep.Dialer) error { return d.SignalSession(ctx, id, signal) })
}

// ask asks each keeper until one knows the session.
func (e Execer) ask(ctx context.Context, id string, question func(wsep.Dialer) error) error {
	peers, err := e.peers(ctx)
	if err != nil {
		return err
	}
	for _, d := range peers {
		if err := question(d); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return xerrors.Errorf("there is no session %q: %w", id, fs.ErrNotExist)
}
