package fleet

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// nodeExecer is what a node serves to gateways.
type nodeExecer struct{ *Node }

var (
	_ wsep.Forwarder      = nodeExecer{}
	_ wsep.SessionKeeper  = nodeExecer{}
	_ wsep.SessionManager = nodeExecer{}
)

// KeepsSessions implements wsep.SessionKeeper.
func (nodeExecer) KeepsSessions() bool { return true }

// Peers implements wsep.Forwarder. The processes are the keeper's.
func (n nodeExecer) Peers(ctx context.Context) ([]wsep.Dialer, error) { return n.Keeper.Peers(ctx) }

// Start implements wsep.Execer.
func (n nodeExecer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p, err := n.start(ctx, c)
	n.Metrics.refused(ctx, sideNode, err)
	return p, err
}

func (n nodeExecer) start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	if c.ID == "" {
		done, err := n.mayStart()
		if err != nil {
			return nil, &wsep.StartError{Err: err}
		}
		defer done()
		return n.Keeper.Start(ctx, c)
	}
	h, err := parseHop(c.ID)
	if err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	if h.ID == "" {
		return n.startNamed(ctx, c, h)
	}
	c.ID, err = n.find(ctx, h)
	if err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	c.Command, c.Args = "", nil // Inside the fleet attaching never creates.
	p, err := n.Keeper.Start(ctx, c)
	if errors.Is(err, fs.ErrNotExist) {
		n.drop(ctx, h.ID)
	}
	return p, err
}

var errDraining = xerrors.Errorf("the node is draining: %w", wsep.ErrBusy)

// mayStart notes that something starts, until done is called. It fails if the node starts nothing.
func (n *Node) mayStart() (done func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.draining {
		return nil, errDraining
	}
	n.starting.Add(1)
	return n.starting.Done, nil
}

// startNamed claims a name, and starts its session.
func (n nodeExecer) startNamed(ctx context.Context, c wsep.Command, h hop) (wsep.Process, error) {
	id := n.Keys.Ring().New(n.Record.Name, n.Record.Incarnation, h.Owner)
	done, err := n.begin(id)
	if err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	defer done()
	claim, err := n.claim(ctx, h, id)
	if err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	c.ID = keeperID(id, h.Owner, h.Name)
	n.mu.Lock()
	n.hold(claim.ID, c.ID) // If it is unknown whether the session has started, the next sweep finds out.
	n.mu.Unlock()
	p, err := n.Keeper.Start(ctx, c)
	if _, failed := errors.AsType[*wsep.StartError](err); failed {
		n.drop(ctx, claim.ID)
	}
	return p, err
}

// begin notes that a session starts, until done is called. It fails if the node starts nothing.
func (n *Node) begin(id ID) (done func(), err error) {
	over, err := n.mayStart()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.member == nil {
		over()
		return nil, xerrors.Errorf("the node has not joined the fleet: %w", wsep.ErrBusy)
	}
	if n.pending == nil {
		n.pending = map[string]chan struct{}{}
	}
	started := make(chan struct{})
	n.pending[id.String()] = started
	return func() {
		defer over()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.pending, id.String())
		close(started)
	}, nil
}

// claim claims the name of a session that is to start.
func (n *Node) claim(ctx context.Context, h hop, id ID) (Claim, error) {
	n.mu.Lock()
	member := n.member
	n.mu.Unlock()
	c, err := member.Claim(ctx, ClaimRequest{Owner: h.Owner, Name: h.Name, ID: id, Slots: n.Slots, Replace: h.Replace, LostAt: h.LostAt})
	switch {
	case err == nil:
		n.note(c)
		return c, nil
	case errors.Is(err, ErrNotMember):
		return c, xerrors.Errorf("%v: %w", err, wsep.ErrBusy) // Another node may take it.
	case errors.Is(err, ErrNameTaken), errors.Is(err, ErrQuota):
		return c, err
	}
	n.mu.Lock()
	n.unsure = true // The claim may have been made.
	n.mu.Unlock()
	return c, err
}

// find returns the keeper's ID of the session that a gateway asks for.
func (n *Node) find(ctx context.Context, h hop) (string, error) {
	if _, err := n.verify(h); err != nil {
		return "", err
	}
	if err := n.awaitStart(ctx, h.ID); err != nil {
		return "", err
	}
	if h.Name != "" {
		if err := n.confirm(ctx, h); err != nil {
			return "", err
		}
	}
	n.mu.Lock()
	known := n.held[h.ID]
	n.mu.Unlock()
	if known != "" {
		return known, nil
	}
	found, err := n.list(ctx) // The node's program may be new.
	if err != nil {
		return "", err
	}
	there, ok := found[h.ID]
	if !ok {
		n.drop(ctx, h.ID)
		return "", noSession
	}
	n.mu.Lock()
	n.hold(h.ID, there.String())
	n.mu.Unlock()
	return there.String(), nil
}

var noSession = xerrors.Errorf("there is no such session on its node: %w", fs.ErrNotExist)

// verify returns the ID that a gateway asks for, if a session of this incarnation of this node can have it.
func (n *Node) verify(h hop) (ID, error) {
	id, err := n.Keys.Ring().Verify(h.ID, h.Owner)
	switch {
	case err != nil:
		return id, err
	case id.Node != n.Record.Name:
		return id, xerrors.Errorf("the session is of node %s, and this is %s: %w", id.Node, n.Record.Name, fs.ErrPermission)
	case id.Incarnation != n.Record.Incarnation:
		return id, xerrors.Errorf("the session ended when its node started anew: %w", fs.ErrNotExist)
	}
	return id, nil
}

// awaitStart waits while a session starts.
func (n *Node) awaitStart(ctx context.Context, id string) error {
	n.mu.Lock()
	starting := n.pending[id]
	n.mu.Unlock()
	if starting == nil {
		return nil
	}
	select {
	case <-starting:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nameGrace is how long after its last renewal a node serves names. It is less than the time after which its names are given away.
const nameGrace = 50 * time.Second

// confirm returns an error unless the session has the name, by the same claim as the gateway knows. A node that was cut off from the
// registry for long may have lost its names.
func (n *Node) confirm(ctx context.Context, h hop) error {
	member, settled := n.awaitJoined(ctx)
	if member == nil || time.Since(member.Renewed()) > nameGrace || !awaitClosed(ctx, settled, settleTimeout) {
		return xerrors.Errorf("the node does not know whether the name is still the session's: %w", ErrNoRegistry)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c, ok := n.claims[nameKey{h.Owner, h.Name}]; !ok || c.ID != h.ID || c.Revision != h.Revision {
		return xerrors.Errorf("the name is no longer the session's: %w", fs.ErrNotExist)
	}
	return nil
}

// Sessions implements wsep.SessionManager. The IDs say the owner, the name and the ID of each session, as the keeper's do.
func (n nodeExecer) Sessions(ctx context.Context) ([]wsep.SessionInfo, error) {
	infos, err := n.Keeper.Sessions(ctx)
	var own []wsep.SessionInfo
	for _, info := range infos {
		if strings.HasPrefix(info.ID, hopPrefix) {
			own = append(own, info)
		}
	}
	return own, err
}

// WaitSession implements wsep.SessionManager.
func (n nodeExecer) WaitSession(ctx context.Context, id string) error {
	return n.ask(ctx, id, func(id string) error { return n.Keeper.WaitSession(ctx, id) })
}

// CloseSession implements wsep.SessionManager.
func (n nodeExecer) CloseSession(ctx context.Context, id, reason string) error {
	return n.ask(ctx, id, func(id string) error { return n.Keeper.CloseSession(ctx, id, reason) })
}

// SignalSession implements wsep.SessionManager.
func (n nodeExecer) SignalSession(ctx context.Context, id, signal string) error {
	return n.ask(ctx, id, func(id string) error { return n.Keeper.SignalSession(ctx, id, signal) })
}

// ask asks the keeper about the session that a gateway means.
func (n nodeExecer) ask(ctx context.Context, text string, question func(id string) error) error {
	h, err := parseHop(text)
	if err != nil {
		return err
	}
	id, err := n.find(ctx, h)
	if err != nil {
		return err
	}
	return question(id)
}
