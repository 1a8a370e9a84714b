package fleet

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// agreeLimit is how long a name is tried that the registry and the session's node do not agree on, or whose start was lost. An engine that
// has lost its leader needs two seconds for another one.
const agreeLimit = 5 * time.Second

// startNamed attaches to the session that has a name, or starts one.
func (e Execer) startNamed(ctx context.Context, c wsep.Command, owner, name string) (wsep.Process, error) {
	claim, by, err := e.claimOf(ctx, c, owner, name)
	if err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	lost := false // a start may be under way, which claims the name before it starts anything
	for began := time.Now(); ; {
		p, failed := e.startBy(ctx, c, owner, name, claim, by)
		if failed == nil || ctx.Err() != nil || claim != nil && !errors.Is(failed, fs.ErrNotExist) {
			return p, failed
		}
		lost = lost || errors.Is(failed, wsep.ErrDisconnected)
		now, err := e.find(ctx, owner, name)
		late := time.Since(began) > agreeLimit
		switch {
		case err != nil:
			return nil, &wsep.StartError{Err: err}
		case now == nil && (c.Command == "" || claim == nil && (late || !lost)):
			return nil, failed
		case !sameClaim(claim, now):
		case late:
			return nil, errDisagree
		default:
			sleep(ctx, retryPause)
		}
		claim, by = now, byRegistry
	}
}

// sameClaim reports whether two claims of a name are one. nil stands for no claim.
func sameClaim(a, b *Claim) bool { return a == b || a != nil && b != nil && *a == *b }

var errDisagree error = &wsep.StartError{Err: xerrors.Errorf("the session's node and the registry do not agree: %w", ErrNoRegistry)}

// claimOf returns the claim of a name, and what it was found by, as Metrics call it. Without a claim a start claims the name. Where
// nothing may start, only the registry can say that there is no session.
func (e Execer) claimOf(ctx context.Context, c wsep.Command, owner, name string) (claim *Claim, by string, err error) {
	if claim, known := e.View.claim(owner, name); known {
		return &claim, byName, nil
	}
	if c.Command != "" {
		return nil, "", nil
	}
	found, err := e.View.registry.Find(ctx, owner, name)
	return &found, byRegistry, err
}

// find returns the claim that the registry has of a name, or nil.
func (e Execer) find(ctx context.Context, owner, name string) (*Claim, error) {
	claim, err := e.View.registry.Find(ctx, owner, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &claim, nil
}

// startBy attaches to the session of a claim. Without a claim it places a new session.
func (e Execer) startBy(ctx context.Context, c wsep.Command, owner, name string, claim *Claim, by string) (wsep.Process, error) {
	if claim == nil {
		return e.place(ctx, owner, withHop(c, hop{Owner: owner, Name: name}))
	}
	p, err := e.attach(ctx, c, hop{Owner: owner, Name: name, ID: claim.ID, Revision: claim.Revision}, by)
	if errors.Is(err, ErrUnreachable) && ctx.Err() == nil {
		return e.replace(ctx, c, *claim, err)
	}
	return p, err
}

// isLostStart reports whether a node was lost during a start there.
func isLostStart(err error) bool {
	return errors.Is(err, wsep.ErrDisconnected) && !errors.Is(err, ErrUnreachable)
}

func withHop(c wsep.Command, h hop) wsep.Command {
	c.ID = h.String()
	return c
}

// replace starts a session in the place of one whose node is lost for long enough. Otherwise it returns the error of attaching.
func (e Execer) replace(ctx context.Context, c wsep.Command, old Claim, unreachable error) (wsep.Process, error) {
	revision, lost := e.View.lostFor(old.Node(), e.lostAfter())
	if !lost || c.Command == "" {
		return nil, unreachable
	}
	return e.place(ctx, old.Owner, withHop(c, hop{Owner: old.Owner, Name: old.Name, Replace: &old, LostAt: revision}))
}
