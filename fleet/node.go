package fleet

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

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
