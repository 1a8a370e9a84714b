package fleet

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a [Registry] for a fleet in one process. It ends with the process. A node finds the names of its sessions again when it
// joins.
type Memory struct {
	mu       sync.Mutex // guards what follows
	revision int64
	nodes    map[string]*memoryMember
	joined   map[string]int64 // the revision of each node's last Join
	claims   map[nameKey]Claim
	slots    map[slotKey]bool
	changed  chan struct{} // closed at the next change
	log      []Change      // the newest changes, the oldest first
}

// nameKey is an owner's name.
type nameKey struct{ owner, name string }

// slotKey is an owner's slot.
type slotKey struct {
	owner string
	slot  int
}

// maxLog is how many changes a Memory keeps at least for those that watch it, and half of what it keeps at most. Who is further behind has to watch anew.
const maxLog = 1024

// NewMemory returns a registry without nodes.
func NewMemory() *Memory {
	return &Memory{
		nodes: map[string]*memoryMember{}, joined: map[string]int64{}, claims: map[nameKey]Claim{}, slots: map[slotKey]bool{},
		changed: make(chan struct{}),
	}
}

// memoryMember is a Membership. The registry's lock guards record.
type memoryMember struct {
	registry *Memory
	record   NodeRecord
	lost     chan struct{}
	expired  time.Time // when the record went; zero before that
}

// change makes a change. The lock is held.
func (m *Memory) change(c Change) int64 {
	m.revision++
	c.Revision = m.revision
	for i := range c.Claims {
		c.Claims[i].Revision = m.revision
		m.claims[nameKey{c.Claims[i].Owner, c.Claims[i].Name}] = c.Claims[i]
	}
	m.log = append(m.log, c)
	if len(m.log) > 2*maxLog {
		m.log = slices.Clone(m.log[maxLog:])
	}
	close(m.changed)
	m.changed = make(chan struct{})
	return m.revision
}

// Join implements Registry.
func (m *Memory) Join(_ context.Context, r NodeRecord) (Membership, error) {
	if err := CheckNode(r); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.nodes[r.Name]; other != nil {
		if other.record.Incarnation != r.Incarnation {
			return nil, ErrNodeTaken
		}
		other.end()
	}
	member := &memoryMember{registry: m, record: cloneRecord(r), lost: make(chan struct{})}
	m.nodes[r.Name] = member
	m.joined[r.Name] = m.change(Change{Nodes: []NodeRecord{cloneRecord(r)}})
	return member, nil
}

func cloneRecord(r NodeRecord) NodeRecord {
	r.Labels = maps.Clone(r.Labels)
	return r
}

// Expire removes a node's record, as when it was not renewed. It is for tests.
func (m *Memory) Expire(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if member := m.nodes[node]; member != nil {
		m.remove(member)
	}
}

// remove removes a member's record. The lock is held.
func (m *Memory) remove(member *memoryMember) {
	if !member.isIn() {
		return
	}
	delete(m.nodes, member.record.Name)
	m.change(Change{GoneNodes: []string{member.record.Name}})
	member.end()
}

// end notes that the record has gone. The lock is held.
func (p *memoryMember) end() {
	p.expired = time.Now()
	close(p.lost)
}

// isIn reports whether the member has its record. The lock is held.
func (p *memoryMember) isIn() bool { return p.registry.nodes[p.record.Name] == p }

// Nodes implements Registry.
func (m *Memory) Nodes(context.Context) ([]NodeRecord, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records(), nil
}

// records returns the nodes' records, by name. The lock is held.
func (m *Memory) records() (all []NodeRecord) {
	for _, member := range m.nodes {
		all = append(all, cloneRecord(member.record))
	}
	slices.SortFunc(all, func(a, b NodeRecord) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Find implements Registry.
func (m *Memory) Find(_ context.Context, owner, name string) (Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.claims[nameKey{owner, name}]
	if !ok {
		return Claim{}, NoClaim(name)
	}
	return c, nil
}

// Claims implements Registry.
func (m *Memory) Claims(_ context.Context, node string) (claims []Claim, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.claims {
		if node == "" || c.Node() == node {
			claims = append(claims, c)
		}
	}
	return claims, nil
}

// Forget implements Registry.
func (m *Memory) Forget(_ context.Context, owner, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.claims[nameKey{owner, name}]
	if !ok {
		return NoClaim(name)
	}
	if m.nodes[c.Node()] != nil {
		return ErrNodeLives
	}
	m.release(c)
	return nil
}

// release removes a claim. The lock is held.
func (m *Memory) release(c Claim) {
	delete(m.claims, nameKey{c.Owner, c.Name})
	delete(m.slots, slotKey{c.Owner, c.Slot})
	m.change(Change{GoneClaims: []Claim{{Owner: c.Owner, Name: c.Name}}})
}

// Watch implements Registry.
func (m *Memory) Watch(ctx context.Context, tell func(Change)) error {
	m.mu.Lock()
	last := Change{Revision: m.revision, All: true, Nodes: m.records(), Claims: slices.Collect(maps.Values(m.claims))}
	var changed <-chan struct{} = m.changed
	m.mu.Unlock()
	tell(last)
	for at := last.Revision; ; {
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		var news []Change
		if news, changed = m.since(at); len(news) == 0 {
			return ErrNoRegistry
		}
		for _, c := range news {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			tell(c)
			at = c.Revision
		}
	}
}

// since returns the changes after a revision. The caller knows that there are some. If they are no longer kept, since returns none.
func (m *Memory) since(revision int64) ([]Change, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := m.log[0].Revision
	if revision+1 < first {
		return nil, m.changed
	}
	return slices.Clone(m.log[revision+1-first:]), m.changed
}

// Update implements Membership.
func (p *memoryMember) Update(_ context.Context, r NodeRecord) error {
	m := p.registry
	m.mu.Lock()
	defer m.mu.Unlock()
	if !p.isIn() {
		return ErrNotMember
	}
	r.Name, r.Incarnation = p.record.Name, p.record.Incarnation
	p.record = cloneRecord(r)
	m.change(Change{Nodes: []NodeRecord{cloneRecord(r)}})
	return nil
}

// Claim implements Membership.
func (p *memoryMember) Claim(_ context.Context, r ClaimRequest) (Claim, error) {
	if err := CheckClaim(r); err != nil {
		return Claim{}, err
	}
	m := p.registry
	m.mu.Lock()
	defer m.mu.Unlock()
	if !p.isIn() {
		return Claim{}, ErrNotMember
	}
	key := nameKey{r.Owner, r.Name}
	old, taken := m.claims[key]
	slot := -1
	switch {
	case taken && old.ID == r.ID.String():
		return old, nil
	case taken && !m.mayReplace(old, r):
		return Claim{}, &TakenError{old}
	case taken:
		slot = old.Slot
	case r.Slots > 0:
		if slot = m.freeSlot(r); slot < 0 {
			return Claim{}, ErrQuota
		}
		m.slots[slotKey{r.Owner, slot}] = true
	}
	m.change(Change{Claims: []Claim{{Owner: r.Owner, Name: r.Name, ID: r.ID.String(), Slot: slot}}})
	return m.claims[key], nil
}

// mayReplace reports whether a request may replace a claim. The lock is held.
func (m *Memory) mayReplace(old Claim, r ClaimRequest) bool {
	return r.Replace != nil && *r.Replace == old && m.nodes[old.Node()] == nil && m.joined[old.Node()] <= r.LostAt
}

// freeSlot returns a free slot of the owner, or a negative number. The lock is held.
func (m *Memory) freeSlot(r ClaimRequest) int {
	for slot := range r.Slots {
		if !m.slots[slotKey{r.Owner, slot}] {
			return slot
		}
	}
	return -1
}

// Release implements Membership.
func (p *memoryMember) Release(_ context.Context, c Claim) error {
	m := p.registry
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claims[nameKey{c.Owner, c.Name}] == c {
		m.release(c)
	}
	return nil
}

// Renewed implements Membership.
func (p *memoryMember) Renewed() time.Time {
	m := p.registry
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.isIn() {
		return time.Now()
	}
	return p.expired
}

// Lost implements Membership.
func (p *memoryMember) Lost() <-chan struct{} { return p.lost }

// Leave implements Membership.
func (p *memoryMember) Leave(context.Context) error {
	p.registry.mu.Lock()
	defer p.registry.mu.Unlock()
	p.registry.remove(p)
	return nil
}
