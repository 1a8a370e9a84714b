package fleet

import (
	"context"
	"errors"
	"maps"
)

// What a node believes of its sessions and claims, and how it compares that with its keeper and the registry.

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
