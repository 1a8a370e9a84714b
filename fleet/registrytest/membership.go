package registrytest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
)

// The nodes: they join, change their records, leave, and are lost.

func testJoin(t *testing.T, s *suite) {
	a := s.join(t, "a")
	b := s.join(t, "b")
	s.requireNodes(t, a.registry, a.record, b.record)
	s.requireNodes(t, s.Open(), a.record, b.record)

	clone := recordOf("a")
	clone.Incarnation = "a-2"
	_, err := s.Open().Join(s.ctx, clone)
	require.ErrorIs(t, err, fleet.ErrNodeTaken)
	s.requireNodes(t, a.registry, a.record, b.record)
	select {
	case <-a.Lost():
		t.Fatal("a clone can't push a node out")
	default:
	}
	require.WithinDuration(t, time.Now(), a.Renewed(), patience)

	for _, name := range []string{"", "A", "a.b", "a/b", "-a", "a-", "\x00"} {
		_, err := s.Open().Join(s.ctx, recordOf(name))
		require.ErrorIs(t, err, wsep.ErrInvalidCommand, name)
	}
}

// testRejoin is the restart of a node's program, before its record has expired.
func testRejoin(t *testing.T, s *suite) {
	first := s.join(t, "a")
	kept := s.claim(t, first, "alice", "main", 0)
	second := s.join(t, "a")
	_, err := first.Claim(s.ctx, first.request("alice", "other"))
	require.ErrorIs(t, err, fleet.ErrNotMember)
	requireLost(t, first)
	require.ErrorIs(t, first.Update(s.ctx, first.record), fleet.ErrNotMember)
	require.NoError(t, first.Leave(s.ctx))
	s.requireNodes(t, second.registry, second.record)
	s.claim(t, second, "alice", "other", 0)
	found, err := second.registry.Find(s.ctx, "alice", "main")
	require.NoError(t, err)
	require.Equal(t, kept, found)
}

func testUpdate(t *testing.T, s *suite) {
	a := s.join(t, "a")
	changed := a.record
	changed.State, changed.Load, changed.Address, changed.Labels = fleet.NodeDraining, 7, "elsewhere:2", nil
	require.NoError(t, a.Update(s.ctx, changed))
	s.requireNodes(t, s.Open(), changed)
	other := changed
	other.Name, other.Incarnation = "b", "b-1"
	require.NoError(t, a.Update(s.ctx, other))
	s.requireNodes(t, s.Open(), changed)
}

func testLeave(t *testing.T, s *suite) {
	a := s.join(t, "a")
	s.claim(t, a, "alice", "main", 1)
	require.NoError(t, a.Leave(s.ctx))
	require.NoError(t, a.Leave(s.ctx))
	requireLost(t, a)
	nodes, err := a.registry.Nodes(s.ctx)
	require.NoError(t, err)
	require.Empty(t, nodes)
	_, err = a.registry.Find(s.ctx, "alice", "main")
	require.NoError(t, err, "a claim stays without its node")
	_, err = a.Claim(s.ctx, a.request("alice", "other"))
	require.ErrorIs(t, err, fleet.ErrNotMember)

	other := recordOf("a")
	other.Incarnation = "a-2"
	_, err = a.registry.Join(s.ctx, other)
	require.NoError(t, err)
}

func testExpire(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	claimed := s.claim(t, a, "alice", "main", 0)
	s.kill(t, a)
	s.requireNodes(t, b.registry, b.record)
	found, err := b.registry.Find(s.ctx, "alice", "main")
	require.NoError(t, err, "a claim has no lease")
	require.Equal(t, claimed, found)
	s.requireTaken(t, b, b.request("alice", "main"), claimed)
}
