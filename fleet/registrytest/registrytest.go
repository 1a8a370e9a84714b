// Package registrytest is the contract of [fleet.Registry] as a test suite.
package registrytest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/fleet"
)

// Setup is an empty registry for one test.
type Setup struct {
	// Open returns the registry as one more program has it. The test does not close it.
	Open func() fleet.Registry
	// Kill ends the program of a registry, without a word to anybody. The node that has joined over it expires after some time.
	Kill func(r fleet.Registry, node string)
	// Disturb makes a fault that the registry must survive, and mends it. nil if there is none.
	Disturb func()
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// Run runs the suite. It calls setup for each test. Only the races disturb the registry, and nothing runs beside them.
func Run(t *testing.T, setup func(t *testing.T) Setup) {
	run := func(t *testing.T, test func(*testing.T, *suite)) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		t.Cleanup(cancel)
		test(t, &suite{Setup: setup(t), ctx: ctx, ring: fleet.NewKeyRing()})
	}
	t.Run("Calm", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *suite){
			"Join": testJoin, "Rejoin": testRejoin, "Update": testUpdate, "Leave": testLeave, "Expire": testExpire,
			"Claim": testClaim, "Names": testNames, "Slots": testSlots, "Release": testRelease, "Replace": testReplace,
			"ReplaceReturned": testReplaceReturned, "Forget": testForget, "Watch": testWatch, "WatchEnd": testWatchEnd,
			"RaceJoin": testRaceJoin,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, test)
			})
		}
	})
	t.Run("RaceNames", func(t *testing.T) { run(t, testRaceNames) })
	t.Run("RaceSlots", func(t *testing.T) { run(t, testRaceSlots) })
}

type suite struct {
	Setup
	ctx  context.Context
	ring *fleet.KeyRing
}

// node is a node and its program.
type node struct {
	fleet.Membership
	registry fleet.Registry
	record   fleet.NodeRecord
	ring     *fleet.KeyRing
}

func recordOf(name string) fleet.NodeRecord {
	return fleet.NodeRecord{
		Name: name, Incarnation: name + "-1", Address: name + ".example:1", State: fleet.NodeReady, Labels: map[string]string{"disk": "fast"},
	}
}

func (s *suite) join(t *testing.T, name string) *node {
	n := &node{registry: s.Open(), record: recordOf(name), ring: s.ring}
	var err error
	n.Membership, err = n.registry.Join(s.ctx, n.record)
	require.NoError(t, err)
	return n
}

// request returns a request with a new ID.
func (n *node) request(owner, name string) fleet.ClaimRequest {
	return fleet.ClaimRequest{Owner: owner, Name: name, ID: n.ring.New(n.record.Name, n.record.Incarnation, owner)}
}

func (s *suite) claim(t *testing.T, n *node, owner, name string, slots int) fleet.Claim {
	t.Helper()
	request := n.request(owner, name)
	request.Slots = slots
	c, err := n.Claim(s.ctx, request)
	require.NoError(t, err)
	require.Equal(t, request.ID.String(), c.ID)
	require.Equal(t, n.record.Name, c.Node())
	return c
}

func (s *suite) requireTaken(t *testing.T, n *node, request fleet.ClaimRequest, by fleet.Claim) {
	t.Helper()
	_, err := n.Claim(s.ctx, request)
	require.ErrorIs(t, err, fleet.ErrNameTaken)
	taken, ok := errors.AsType[*fleet.TakenError](err)
	require.True(t, ok)
	require.Equal(t, by, taken.Claim)
}

func (s *suite) requireNodes(t *testing.T, r fleet.Registry, want ...fleet.NodeRecord) {
	t.Helper()
	got, err := r.Nodes(s.ctx)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func requireLost(t *testing.T, n *node) {
	t.Helper()
	select {
	case <-n.Lost():
	case <-time.After(patience):
		t.Fatal("the node does not learn that it is lost")
	}
}

// kill kills a node, and returns the revision at which its record is seen to be gone.
func (s *suite) kill(t *testing.T, n *node) (revision int64) {
	gone := make(chan int64, 1)
	watching, cancel := context.WithCancel(s.ctx)
	var watch sync.WaitGroup
	started := make(chan struct{})
	other := s.Open()
	watch.Go(func() {
		there := false
		_ = other.Watch(watching, func(c fleet.Change) {
			if c.All {
				close(started)
				there = len(c.Nodes) > 0
			}
			for _, name := range c.GoneNodes {
				if there && name == n.record.Name {
					gone <- c.Revision
				}
			}
		})
	})
	defer watch.Wait()
	defer cancel()
	<-started
	s.Kill(n.registry, n.record.Name)
	select {
	case revision := <-gone:
		return revision
	case <-time.After(patience):
		t.Fatal("the node's record does not expire")
		return 0
	}
}

// testWatch follows each kind of change.
func testWatch(t *testing.T, s *suite) {
	a := s.join(t, "a")
	before := s.claim(t, a, "alice", "before", 1)
	changes := make(chan fleet.Change, 100)
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	other := s.Open()
	go func() { ended <- other.Watch(ctx, func(c fleet.Change) { changes <- c }) }() // Ends with ctx.
	revision := int64(-1)
	next := func() fleet.Change {
		t.Helper()
		select {
		case c := <-changes:
			require.Greater(t, c.Revision, revision)
			revision, c.Revision = c.Revision, 0
			return c
		case <-time.After(patience):
			t.Fatal("the change is not told")
			return fleet.Change{}
		}
	}
	require.Equal(t, fleet.Change{All: true, Nodes: []fleet.NodeRecord{a.record}, Claims: []fleet.Claim{before}}, next())
	b := s.join(t, "b")
	require.Equal(t, fleet.Change{Nodes: []fleet.NodeRecord{b.record}}, next())
	c := s.claim(t, b, "a/b", "c/d", 1)
	require.Equal(t, fleet.Change{Claims: []fleet.Claim{c}}, next())
	require.Equal(t, c.Revision, revision)
	b.record.Load = 3
	require.NoError(t, b.Update(s.ctx, b.record))
	require.Equal(t, fleet.Change{Nodes: []fleet.NodeRecord{b.record}}, next())
	require.NoError(t, b.Release(s.ctx, c))
	require.Equal(t, fleet.Change{GoneClaims: []fleet.Claim{{Owner: "a/b", Name: "c/d"}}}, next())
	require.NoError(t, b.Leave(s.ctx))
	require.Equal(t, fleet.Change{GoneNodes: []string{"b"}}, next())
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Empty(t, changes)
}

// testWatchEnd watches with a context that has ended.
func testWatchEnd(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	r := s.Open()
	require.ErrorIs(t, r.Watch(ctx, func(fleet.Change) { cancel() }), context.Canceled)
}
