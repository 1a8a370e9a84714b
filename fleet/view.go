package fleet

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// View is what a gateway knows of the fleet. It follows a registry, and keeps what it knows while that can't be reached. While Run runs,
// it also has the idle connections to nodes, eight to each for a minute at most. A View is safe for concurrent use.
type View struct {
	registry Registry
	filled   chan struct{} // closed when something is known

	mu     sync.Mutex // guards what follows
	nodes  map[string]*viewedNode
	claims map[nameKey]Claim
	ended  bool // Run has returned
}

// viewedNode is a node that has, or had, a record. The View's lock guards it.
type viewedNode struct {
	record NodeRecord // the last one; without an address if there was none
	lives  bool
	lostAt int64     // the revision at which the node was seen to be lost
	since  time.Time // when that was
	coming int       // starts that are on their way there
	failed time.Time // when it could last not be connected to
	kept   *keptLink // nil while no connections to it are kept
}

// watchPause is how long a View waits before it watches anew.
const watchPause = 200 * time.Millisecond

// NewView returns a View of a registry. It knows nothing until Run.
func NewView(r Registry) *View {
	return &View{registry: r, filled: make(chan struct{}), nodes: map[string]*viewedNode{}, claims: map[nameKey]Claim{}}
}

// Run follows the registry until the context ends. It is called once.
func (v *View) Run(ctx context.Context) {
	defer v.dropLinks()
	for ctx.Err() == nil {
		_ = v.registry.Watch(ctx, v.apply) // Why it has ended does not matter: what is known stays.
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

// await waits until something is known. The error is NoRegistry's if that takes too long.
func (v *View) await(ctx context.Context) error {
	select {
	case <-v.filled:
		return nil
	default:
	}
	waiting, cancel := context.WithTimeout(ctx, viewPatience)
	defer cancel()
	select {
	case <-v.filled:
		return nil
	case <-waiting.Done():
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return NoRegistry(waiting.Err())
}

// viewPatience is how long a client waits for a gateway that knows nothing yet.
const viewPatience = time.Second

func (v *View) apply(c Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.All {
		v.forgetAll(c)
	}
	for _, r := range c.Nodes {
		n := v.node(r.Name, c.Revision)
		if n.record.Address != r.Address || n.record.Incarnation != r.Incarnation {
			n.dropLink()
		}
		n.record, n.lives = r, true
	}
	for _, name := range c.GoneNodes {
		v.lose(v.node(name, c.Revision), c.Revision)
	}
	for _, claim := range c.Claims {
		v.claims[nameKey{claim.Owner, claim.Name}] = claim
		v.node(claim.Node(), c.Revision)
	}
	for _, gone := range c.GoneClaims {
		delete(v.claims, nameKey{gone.Owner, gone.Name})
	}
	if c.All {
		closeOnce(v.filled)
	}
}

// closeOnce closes a channel unless that is done. Its caller is the only one that does.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// forgetAll forgets the claims and the nodes' records that the change does not have. The lock is held.
func (v *View) forgetAll(c Change) {
	clear(v.claims)
	for name, n := range v.nodes {
		if n.lives && !slices.ContainsFunc(c.Nodes, func(r NodeRecord) bool { return r.Name == name }) {
			v.lose(n, c.Revision)
		}
	}
}

// node returns what is known of a node. One that was never seen is lost, as far as is known. The lock is held.
func (v *View) node(name string, revision int64) *viewedNode {
	n := v.nodes[name]
	if n == nil {
		n = &viewedNode{record: NodeRecord{Name: name}}
		v.lose(n, revision)
		v.nodes[name] = n
	}
	return n
}

func (v *View) lose(n *viewedNode, revision int64) {
	n.lives, n.lostAt, n.since = false, revision, time.Now()
	n.dropLink()
}

// claim returns the claim of a name, as far as is known.
func (v *View) claim(owner, name string) (Claim, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.claims[nameKey{owner, name}]
	return c, ok
}

// address returns where a node is, or was last seen.
func (v *View) address(node string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := v.nodes[node]; n != nil {
		return n.record.Address
	}
	return ""
}

// mayReturn reports whether a node is there, or was so long ago at most.
func (v *View) mayReturn(node string, limit time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.nodes[node]
	return n != nil && n.mayReturn(limit)
}

func (n *viewedNode) mayReturn(limit time.Duration) bool {
	return n.record.Address != "" && (n.lives || time.Since(n.since) < limit)
}

// lostFor returns whether a node is lost for a time at least, and the revision at which it was seen to be.
func (v *View) lostFor(node string, least time.Duration) (revision int64, lost bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.nodes[node]
	if n == nil || n.lives || time.Since(n.since) < least {
		return 0, false
	}
	return n.lostAt, true
}

// notLostFor returns the records of the nodes that may return.
func (v *View) notLostFor(limit time.Duration) (records []NodeRecord) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, n := range v.nodes {
		if n.mayReturn(limit) {
			records = append(records, n.record)
		}
	}
	return records
}

// Nodes returns the nodes that are not lost, by name.
func (v *View) Nodes() (nodes []Candidate) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(v.nodes)) {
		if n := v.nodes[name]; n.lives {
			nodes = append(nodes, Candidate{n.record, n.coming, time.Since(n.failed) < failureMemory})
		}
	}
	return nodes
}

// failureMemory is how long a node that can't be connected to is the last choice.
const failureMemory = 5 * time.Second

// noteFailure remembers that a node can't be connected to.
func (v *View) noteFailure(node string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := v.nodes[node]; n != nil {
		n.failed = time.Now()
	}
}

// coming counts a start that is on its way to a node, until the result is called.
func (v *View) coming(node string) (arrived func()) {
	add := func(count int) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if n := v.nodes[node]; n != nil {
			n.coming += count
		}
	}
	add(1)
	return func() { add(-1) }
}

// Lost returns the last records of the nodes that are lost, by name. Of a node that was never seen only the name is known.
func (v *View) Lost() (nodes []NodeRecord) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(v.nodes)) {
		if n := v.nodes[name]; !n.lives {
			nodes = append(nodes, n.record)
		}
	}
	return nodes
}
