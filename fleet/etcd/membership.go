package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cdr.dev/wsep/fleet"
)

// membership is a node's record and its lease.
type membership struct {
	*Registry
	name        string
	incarnation string
	lease       clientv3.LeaseID
	lost        chan struct{}
	end         func() // closes lost, once

	mu      sync.Mutex // guards renewed
	renewed time.Time
}

// Join implements fleet.Registry.
func (r *Registry) Join(ctx context.Context, record fleet.NodeRecord) (m fleet.Membership, err error) {
	if err := fleet.CheckNode(record); err != nil {
		return nil, err
	}
	err = r.try(ctx, func(ctx context.Context) (err error) {
		m, err = r.join(ctx, record)
		return err
	})
	return m, err
}

func (r *Registry) join(ctx context.Context, record fleet.NodeRecord) (fleet.Membership, error) {
	began := time.Now()
	granted, err := r.client.Grant(ctx, int64(r.ttl/time.Second))
	if err != nil {
		return nil, err
	}
	earlier, err := r.putNode(ctx, record, granted.ID)
	if err != nil {
		r.revoke(granted.ID)
		return nil, err
	}
	if earlier != 0 {
		r.revoke(earlier) // So the earlier Membership learns of its end.
	}
	m := &membership{
		Registry: r, name: record.Name, incarnation: record.Incarnation, lease: granted.ID, renewed: began, lost: make(chan struct{}),
	}
	m.end = sync.OnceFunc(func() { close(m.lost) })
	r.running.Go(m.renew) // Ends when the lease has, or with Close.
	return m, nil
}

// putNode makes a node's record. It returns the lease of the earlier one, or 0.
func (r *Registry) putNode(ctx context.Context, record fleet.NodeRecord, lease clientv3.LeaseID) (earlier clientv3.LeaseID, err error) {
	text, err := json.Marshal(record)
	if err != nil {
		return 0, err
	}
	key := r.nodeKey(record.Name)
	for {
		found, err := r.client.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		var revision int64
		if len(found.Kvs) > 0 {
			records, err := appendDecoded([]fleet.NodeRecord(nil), found.Kvs[0].Value)
			if err != nil {
				return 0, err
			}
			if records[0].Incarnation != record.Incarnation {
				return 0, fleet.ErrNodeTaken
			}
			revision, earlier = found.Kvs[0].ModRevision, clientv3.LeaseID(found.Kvs[0].Lease)
		}
		done, err := r.client.Txn(ctx).
			If(isAt(key, revision)).
			Then(clientv3.OpPut(key, string(text), clientv3.WithLease(lease)), clientv3.OpPut(r.memberKey(record.Name), record.Incarnation)).
			Commit()
		if err != nil || done.Succeeded {
			return earlier, err
		}
	}
}

// revoke ends a lease. If that fails, the lease expires.
func (r *Registry) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(r.ctx, opTimeout)
	defer cancel()
	_, _ = r.client.Revoke(ctx, lease)
}

// renew renews the lease until it has ended.
func (m *membership) renew() {
	pause := m.ttl / 3
	for {
		select {
		case <-time.After(pause):
		case <-m.lost:
			return
		case <-m.ctx.Done():
			return
		}
		began := time.Now()
		left, err := m.renewOnce()
		switch {
		case err != nil:
			pause = retryPause
		case left <= 0:
			m.end()
			return
		default:
			pause = m.ttl / 3
			m.mu.Lock()
			m.renewed = began
			m.mu.Unlock()
		}
	}
}

// renewOnce renews the lease. It returns how many seconds it lives. 0 or less means that it has ended.
func (m *membership) renewOnce() (left int64, err error) {
	ctx, cancel := context.WithTimeout(m.ctx, min(opTimeout, m.ttl/3))
	defer cancel()
	stream, err := pb.NewLeaseClient(m.client.ActiveConnection()).LeaseKeepAlive(clientv3.WithRequireLeader(ctx))
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(m.lease)}); err != nil {
		return 0, err
	}
	response, err := stream.Recv()
	return response.GetTTL(), err
}

// Renewed implements fleet.Membership.
func (m *membership) Renewed() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.renewed
}

// Lost implements fleet.Membership.
func (m *membership) Lost() <-chan struct{} { return m.lost }

// Leave implements fleet.Membership.
func (m *membership) Leave(ctx context.Context) error {
	m.end()
	return m.try(ctx, func(ctx context.Context) error {
		_, err := m.client.Revoke(ctx, m.lease)
		if isNoLease(err) {
			return nil
		}
		return err
	})
}

// isMember says that the node has its record, under this lease.
func (m *membership) isMember() clientv3.Cmp {
	return clientv3.Compare(clientv3.LeaseValue(m.nodeKey(m.name)), "=", m.lease)
}

// Update implements fleet.Membership.
func (m *membership) Update(ctx context.Context, record fleet.NodeRecord) error {
	record.Name, record.Incarnation = m.name, m.incarnation
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return m.try(ctx, func(ctx context.Context) error {
		done, err := m.client.Txn(ctx).
			If(m.isMember()).
			Then(clientv3.OpPut(m.nodeKey(m.name), string(text), clientv3.WithLease(m.lease))).
			Commit()
		switch {
		case isNoLease(err), err == nil && !done.Succeeded:
			m.end()
			return fleet.ErrNotMember
		}
		return err
	})
}

// isNoLease reports whether an error says that the lease has ended.
func isNoLease(err error) bool { return errors.Is(err, rpctypes.ErrLeaseNotFound) }

// Claim implements fleet.Membership.
func (m *membership) Claim(ctx context.Context, request fleet.ClaimRequest) (c fleet.Claim, err error) {
	if err := fleet.CheckClaim(request); err != nil {
		return fleet.Claim{}, err
	}
	err = m.try(ctx, func(ctx context.Context) error {
		for {
			var decided bool
			if c, decided, err = m.claim(ctx, request); decided || err != nil {
				return err
			}
		}
	})
	return c, err
}

// claim tries once to make a claim. If what it has read has changed meanwhile, it does not decide.
func (m *membership) claim(ctx context.Context, request fleet.ClaimRequest) (c fleet.Claim, decided bool, err error) {
	name := m.nameKey(request.Owner, request.Name)
	old, slots, err := m.look(ctx, request)
	if err != nil {
		return c, false, err
	}
	c = fleet.Claim{Owner: request.Owner, Name: request.Name, ID: request.ID.String(), Slot: -1}
	conditions := []clientv3.Cmp{m.isMember(), isAt(name, old.Revision)}
	var puts []clientv3.Op
	switch {
	case old.ID == c.ID:
		return old, true, nil
	case old.ID != "" && (request.Replace == nil || *request.Replace != old):
		return c, false, &fleet.TakenError{Claim: old}
	case old.ID != "":
		c.Slot = old.Slot
		conditions = append(conditions, m.isLost(old.Node(), request.LostAt)...)
	case request.Slots > 0:
		if c.Slot = freeSlot(slots, request.Slots); c.Slot < 0 {
			return c, false, fleet.ErrQuota
		}
		slot := m.slotKey(c.Owner, c.Slot)
		conditions = append(conditions, isAbsent(slot))
		puts = append(puts, clientv3.OpPut(slot, c.Name))
	}
	text, err := json.Marshal(c)
	if err != nil {
		return c, false, err
	}
	puts = append(puts, clientv3.OpPut(name, string(text)))
	done, err := m.client.Txn(ctx).If(conditions...).Then(puts...).Else(clientv3.OpGet(m.nodeKey(m.name)), clientv3.OpGet(name)).Commit()
	if err != nil {
		return c, false, err
	}
	if done.Succeeded {
		c.Revision = done.Header.Revision
		return c, true, nil
	}
	return c, false, m.refusal(done, old)
}

// look returns the claim that has the name now, and the owner's slots that are full. Without a claim its revision is 0.
func (m *membership) look(ctx context.Context, request fleet.ClaimRequest) (old fleet.Claim, full map[int]bool, err error) {
	quota := m.quotaPrefix(request.Owner)
	found, err := m.client.Txn(ctx).Then(
		clientv3.OpGet(m.nameKey(request.Owner, request.Name)),
		clientv3.OpGet(quota, clientv3.WithPrefix(), clientv3.WithKeysOnly()),
	).Commit()
	if err != nil {
		return old, nil, err
	}
	claims, err := claimsOf(found.Responses[0].GetResponseRange().Kvs, "")
	if err != nil {
		return old, nil, err
	}
	if len(claims) > 0 {
		old = claims[0]
	}
	full = map[int]bool{}
	for _, kv := range found.Responses[1].GetResponseRange().Kvs {
		if slot, err := strconv.Atoi(strings.TrimPrefix(string(kv.Key), quota)); err == nil {
			full[slot] = true
		}
	}
	return old, full, nil
}

// freeSlot returns a slot that is not full, or a negative number.
func freeSlot(full map[int]bool, slots int) int {
	for slot := range slots {
		if !full[slot] {
			return slot
		}
	}
	return -1
}

// isLost says that a node has no record, and that it has not joined since a revision.
func (m *membership) isLost(node string, revision int64) []clientv3.Cmp {
	return []clientv3.Cmp{
		isAbsent(m.nodeKey(node)),
		clientv3.Compare(clientv3.ModRevision(m.memberKey(node)), "<", revision+1),
	}
}

// refusal returns why a transaction did not make a claim, or nil if another try may. It was to replace old, if that has an ID.
func (m *membership) refusal(done *clientv3.TxnResponse, old fleet.Claim) error {
	own := done.Responses[0].GetResponseRange().Kvs
	if len(own) == 0 || clientv3.LeaseID(own[0].Lease) != m.lease {
		m.end()
		return fleet.ErrNotMember
	}
	now, err := claimsOf(done.Responses[1].GetResponseRange().Kvs, "")
	if err == nil && len(now) > 0 && now[0] == old {
		return &fleet.TakenError{Claim: old} // Its node is not lost.
	}
	return err
}

// Release implements fleet.Membership.
func (m *membership) Release(ctx context.Context, c fleet.Claim) error {
	return m.try(ctx, func(ctx context.Context) error {
		_, err := m.client.Txn(ctx).If(isAt(m.nameKey(c.Owner, c.Name), c.Revision)).Then(m.deleteClaim(c)...).Commit()
		return err
	})
}
