package sshexec

import (
	"context"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// guard sees to it that a connection has a warden.
type guard struct {
	client *ssh.Client
	limit  time.Duration // for the start of a warden

	turn   chan struct{} // holds a token while somebody uses what follows
	warden *warden       // nil before the first start
}

// wardenLimit is how long a login's shell may take to start a warden.
const wardenLimit = 30 * time.Second

func newGuard(client *ssh.Client) *guard {
	return &guard{client: client, limit: wardenLimit, turn: make(chan struct{}, 1)}
}

// present returns the warden, which is started if there is none.
func (g *guard) present(ctx context.Context) (*warden, error) {
	if err := g.lock(ctx); err != nil {
		return nil, err
	}
	if w := g.warden; w != nil && !isClosed(w.gone) {
		g.unlock()
		return w, nil
	}
	begun := make(chan error, 1)
	var w *warden
	// Ends when the warden has started or failed to, at the latest with the connection. Nobody else starts one before.
	go func() {
		defer g.unlock()
		var err error
		if w, err = g.start(); err == nil {
			g.warden = w
		}
		begun <- err
	}()
	select {
	case err := <-begun:
		return w, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *guard) lock(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *guard) unlock() { <-g.turn }

// start starts a warden.
func (g *guard) start() (*warden, error) {
	ch, err := open(g.client)
	if err != nil {
		return nil, err
	}
	slow := time.AfterFunc(g.limit, ch.drop)
	w, err := newWarden(ch)
	if !slow.Stop() {
		return nil, &wsep.StartError{Err: xerrors.Errorf("login's shell has started nothing within %v", g.limit)}
	}
	if err != nil {
		ch.drop()
	}
	return w, err
}
