package fleet

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// Keeper runs a node's commands, and keeps its sessions while the node's program is away. keeper.Execer is one.
type Keeper interface {
	wsep.Forwarder
	wsep.SessionKeeper
	wsep.SessionManager
	// ProcessCount returns how many processes there are. A session is one, and so is a command without ID, also while it waits for
	// its client.
	ProcessCount(ctx context.Context) (int, error)
}

// Node runs commands for the gateways of a fleet. Its sessions live in a [Keeper], so a node may end and come back. Fields are set
// before Run and Handler, and not changed after that.
type Node struct {
	// Record is the node's record. [Incarnation] returns the incarnation. State and Load are the node's to set.
	Record NodeRecord
	// Keeper runs the commands. Nobody else uses it.
	Keeper Keeper
	// Keys is the fleet's ring.
	Keys Keys
	// Registry is the fleet's.
	Registry Registry
	// Slots is how many names an owner may have at a time. 0 means any number.
	Slots int
	// Metrics counts. nil counts nothing.
	Metrics *Metrics

	mu       sync.Mutex    // guards what follows
	member   Membership    // nil before the node has joined
	joined   chan struct{} // closed when it has; nil if nobody asks
	draining bool
	starting sync.WaitGroup           // starts that have begun; none is added once draining is set
	pending  map[string]chan struct{} // the IDs of sessions that start; closed when they have, or have not
	held     map[string]string        // the keeper's ID of each session, by ID
	others   int                      // processes that the keeper had beside the sessions at the last sweep
	claims   map[nameKey]Claim        // of names by which the node's sessions are served
	unsure   bool                     // the registry may have claims that claims lacks
	settled  chan struct{}            // closed when claims is complete after the last join; nil before that
}

const (
	// nameGrace is how long after its last renewal a node serves names. It is less than the time after which its names are given away.
	nameGrace = 50 * time.Second
	// sweepPause is how often a node looks whether its sessions are there.
	sweepPause = 2 * time.Second
	// releaseTimeout bounds how long the end of a failed start waits for the registry.
	releaseTimeout = 5 * time.Second
)

// Handler returns what serves gateways. Serve it with TLS of [NodeTLS] alone: whoever reaches it acts for all owners.
func (n *Node) Handler() http.Handler {
	return n.withAdmin(&wsep.Handler{Execer: nodeExecer{n}, AllowedHosts: []string{"*"}})
}

// Run keeps the node in the fleet, until the context ends. It then leaves the fleet. Sessions and claims stay. The error says why the
// node can't join, and matches [ErrNodeTaken] if another node has its name. While the registry can't be reached, Run tries again.
func (n *Node) Run(ctx context.Context) error {
	defer n.Metrics.watch(n)()
	for ctx.Err() == nil {
		err := n.takePart(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNoRegistry) {
			return err
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// takePart joins the fleet and stays until the record is lost, or the context ends.
func (n *Node) takePart(ctx context.Context) error {
	member, err := n.Registry.Join(ctx, n.record())
	if err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			n.leave(member)
		}
	}()
	n.mu.Lock()
	n.member, n.unsure = member, true
	closeOnce(n.joining())
	n.claims, n.settled = map[nameKey]Claim{}, make(chan struct{}) // Names may have been given away.
	n.mu.Unlock()
	told := n.record()
	for {
		n.sweep(ctx, member)
		if now := n.record(); now.State != told.State || now.Load != told.Load {
			if member.Update(ctx, now) == nil {
				told = now
			}
		}
		select {
		case <-time.After(sweepPause):
		case <-member.Lost():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *Node) leave(member Membership) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_ = member.Leave(ctx) // Else the record expires.
}

// record returns the node's record as it is now.
func (n *Node) record() NodeRecord {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.Record
	r.State, r.Load = NodeReady, n.sessions()+n.others
	if n.draining {
		r.State = NodeDraining
	}
	return r
}

// Drain makes the node start nothing from now on. Clients attach to its sessions as before. When Drain has returned without error,
// starts that had begun are over, none begins, and gateways that see the registry place nothing here.
func (n *Node) Drain(ctx context.Context) error {
	n.mu.Lock()
	n.draining = true
	member := n.member
	n.mu.Unlock()
	started := make(chan struct{})
	// Ends when the starts that have begun are over. Each of them is bounded.
	go func() {
		n.starting.Wait()
		close(started)
	}()
	select {
	case <-started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if member == nil {
		return nil
	}
	return member.Update(ctx, n.record())
}

// Sessions returns how many sessions the node has.
func (n *Node) Sessions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sessions()
}

// sessions returns how many sessions the node has, with those that start. The lock is held.
func (n *Node) sessions() int {
	count := len(n.held)
	for id := range n.pending {
		if _, held := n.held[id]; !held {
			count++
		}
	}
	return count
}

// Remaining returns how many sessions the node has, and how many other commands. A drain is done when there are none. Remaining asks
// the keeper. A command that waits for its client counts.
func (n *Node) Remaining(ctx context.Context) (sessions, commands int, err error) {
	count, err := n.Keeper.ProcessCount(ctx)
	if err != nil {
		return 0, 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sessions(), max(0, count-len(n.held)), nil
}

// keeperID returns the ID under which the keeper has a session. It has the owner and the name, so that the node knows them after a
// restart.
func keeperID(id ID, owner, name string) string {
	return hop{Owner: owner, Name: name, ID: id.String()}.String()
}

// list asks the keeper for the sessions, by ID. It takes those only that this incarnation of the node has made.
func (n *Node) list(ctx context.Context) (map[string]hop, error) {
	infos, err := n.Keeper.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]hop{}
	for _, info := range infos {
		h, err := parseHop(info.ID)
		if err != nil {
			continue
		}
		if _, err := n.verify(h); err == nil {
			found[h.ID] = h
		}
	}
	return found, nil
}

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

// sweep compares what the node believes with what the keeper has, and the claims with both.
func (n *Node) sweep(ctx context.Context, member Membership) {
	n.mu.Lock()
	before := maps.Clone(n.held)
	maps.DeleteFunc(before, func(id, _ string) bool { return n.pending[id] != nil }) // The keeper may not have them yet.
	unsure := n.unsure
	n.mu.Unlock()
	count, countErr := n.Keeper.ProcessCount(ctx)
	if countErr == nil && count == 0 && len(before) == 0 && !unsure {
		n.setOthers(0)
		return
	}
	found, err := n.list(ctx)
	if err != nil {
		return // Nobody is declared dead by somebody who can't see.
	}
	if countErr == nil {
		n.setOthers(count - len(found))
	}
	n.mu.Lock()
	for id, h := range found {
		n.hold(id, h.String())
	}
	for id := range before {
		if _, there := found[id]; !there {
			delete(n.held, id)
		}
	}
	gone := n.claimsWithout(before, found)
	n.mu.Unlock()
	for _, c := range gone {
		n.release(ctx, c)
	}
	if unsure && n.reclaim(ctx, member, found) == nil {
		n.mu.Lock()
		n.unsure = false
		closeOnce(n.settled)
		n.mu.Unlock()
	}
}

// setOthers notes how many processes the keeper has beside the sessions. A session may have ended between the two questions.
func (n *Node) setOthers(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.others = max(0, count)
}

// hold notes the keeper's ID of a session. The lock is held.
func (n *Node) hold(id, keeperID string) {
	if n.held == nil {
		n.held = map[string]string{}
	}
	n.held[id] = keeperID
}

// claimsWithout returns the claims of sessions that were there before and are not found. The lock is held.
func (n *Node) claimsWithout(before map[string]string, found map[string]hop) (gone []Claim) {
	for _, c := range n.claims {
		_, was := before[c.ID]
		if _, is := found[c.ID]; was && !is {
			gone = append(gone, c)
		}
	}
	return gone
}

// reclaim brings the registry and the node together after the node has joined. Claims of sessions that are gone are released.
// Sessions whose name is free get it again. Where another session has got the name, the node's keeps its ID only.
func (n *Node) reclaim(ctx context.Context, member Membership, found map[string]hop) error {
	claims, err := n.Registry.Claims(ctx, n.Record.Name)
	if err != nil {
		return err
	}
	for _, c := range claims {
		if _, there := found[c.ID]; !there && !n.isPending(c.ID) && !n.holds(c.ID) {
			n.release(ctx, c)
		}
	}
	for _, h := range found {
		id, err := ParseID(h.ID)
		if err != nil || h.Name == "" {
			continue
		}
		c, err := member.Claim(ctx, ClaimRequest{Owner: h.Owner, Name: h.Name, ID: id, Slots: n.Slots})
		switch {
		case err == nil:
			n.note(c)
		case errors.Is(err, ErrNameTaken), errors.Is(err, ErrQuota):
			n.forget(h.Owner, h.Name)
		default:
			return err
		}
	}
	return nil
}

func (n *Node) isPending(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pending[id] != nil
}

func (n *Node) holds(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.held[id]
	return ok
}

// note notes a claim by which the node serves a name.
func (n *Node) note(c Claim) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.claims == nil {
		n.claims = map[nameKey]Claim{}
	}
	n.claims[nameKey{c.Owner, c.Name}] = c
}

func (n *Node) forget(owner, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.claims, nameKey{owner, name})
}

// release gives up a claim of a session that is not there. If the registry can't be reached, the next sweep does it.
func (n *Node) release(ctx context.Context, c Claim) {
	n.mu.Lock()
	if n.claims[nameKey{c.Owner, c.Name}] == c {
		delete(n.claims, nameKey{c.Owner, c.Name})
	}
	member := n.member
	n.mu.Unlock()
	if member == nil || member.Release(ctx, c) != nil {
		n.mu.Lock()
		n.unsure = true
		n.mu.Unlock()
	}
}

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

// settleTimeout is how long clients wait for a node that joins, and again until it has learned what its names are.
const settleTimeout = 5 * time.Second

// AwaitNames waits until the node has joined the fleet, and has claimed the names of its sessions again. Run must run.
func (n *Node) AwaitNames(ctx context.Context) error {
	n.mu.Lock()
	joined := n.joining()
	n.mu.Unlock()
	select {
	case <-joined:
	case <-ctx.Done():
		return ctx.Err()
	}
	n.mu.Lock()
	settled := n.settled
	n.mu.Unlock()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitJoined waits for a node whose program has just started. If it does not join in time, the Membership is nil.
func (n *Node) awaitJoined(ctx context.Context) (Membership, <-chan struct{}) {
	n.mu.Lock()
	joined := n.joining()
	n.mu.Unlock()
	awaitClosed(ctx, joined, settleTimeout)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.member, n.settled
}

// joining returns a channel that is closed when the node joins. The lock is held.
func (n *Node) joining() chan struct{} {
	if n.joined == nil {
		n.joined = make(chan struct{})
	}
	return n.joined
}

// awaitClosed waits until the channel is closed, and reports whether that is so.
func awaitClosed(ctx context.Context, c <-chan struct{}, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// drop forgets a session that is not there, and releases its claim.
func (n *Node) drop(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	n.mu.Lock()
	delete(n.held, id)
	var gone []Claim
	for _, c := range n.claims {
		if c.ID == id {
			gone = append(gone, c)
		}
	}
	n.mu.Unlock()
	for _, c := range gone {
		n.release(ctx, c)
	}
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
