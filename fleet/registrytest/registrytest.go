// Package registrytest is the contract of [fleet.Registry] as a test suite.
package registrytest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
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

func testClaim(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	_, err := a.registry.Find(s.ctx, "alice", "main")
	require.ErrorIs(t, err, fs.ErrNotExist)
	request := a.request("alice", "main")
	claimed, err := a.Claim(s.ctx, request)
	require.NoError(t, err)
	again, err := a.Claim(s.ctx, request)
	require.NoError(t, err, "a claim whose answer was lost is made again")
	require.Equal(t, claimed, again)
	s.requireTaken(t, b, b.request("alice", "main"), claimed)
	s.requireTaken(t, a, a.request("alice", "main"), claimed)
	other := s.claim(t, b, "bob", "main", 0)
	require.Greater(t, other.Revision, claimed.Revision)

	of := func(node string) (claims []fleet.Claim) {
		claims, err := s.Open().Claims(s.ctx, node)
		require.NoError(t, err)
		return claims
	}
	require.ElementsMatch(t, []fleet.Claim{claimed, other}, of(""))
	require.Equal(t, []fleet.Claim{other}, of("b"))
	require.Empty(t, of("c"))
}

// testNames claims names that are hard to tell apart, or to put into a key.
func testNames(t *testing.T, s *suite) {
	a := s.join(t, "a")
	want := map[[2]string]fleet.Claim{}
	for _, key := range [][2]string{
		{"", "x"}, {"", "/x"}, {"/", "x"}, {"a/b", "c"}, {"a", "b/c"}, {"a%2Fb", "c"}, {".", ".."}, {"..", "."}, {"é", "日本"}, {"\t", "\x00"},
		{"a", " "}, {"A", "B"}, {"a", "b"},
	} {
		want[key] = s.claim(t, a, key[0], key[1], 3)
	}
	for key, c := range want {
		found, err := s.Open().Find(s.ctx, key[0], key[1])
		require.NoError(t, err)
		require.Equal(t, c, found)
	}
	long := make([]byte, 1000)
	for _, key := range [][2]string{{"a", ""}, {"a", string(long)}, {string(long), "a"}, {"a", "w1.x"}, {"a", "\xff"}, {"\xff", "a"}} {
		_, err := a.Claim(s.ctx, a.request(key[0], key[1]))
		require.ErrorIs(t, err, wsep.ErrInvalidCommand)
	}
}

func testSlots(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	first := s.claim(t, a, "alice", "1", 2)
	s.claim(t, b, "alice", "2", 2)
	full := a.request("alice", "3")
	full.Slots = 2
	_, err := a.Claim(s.ctx, full)
	require.ErrorIs(t, err, fleet.ErrQuota)
	require.ErrorIs(t, err, wsep.ErrBusy)
	_, err = a.registry.Find(s.ctx, "alice", "3")
	require.ErrorIs(t, err, fs.ErrNotExist)
	s.claim(t, a, "bob", "3", 2)
	s.claim(t, a, "alice", "unbounded", 0)
	require.NoError(t, a.Release(s.ctx, first))
	s.claim(t, a, "alice", "3", 2)
}

func testRelease(t *testing.T, s *suite) {
	a := s.join(t, "a")
	first := s.claim(t, a, "alice", "main", 1)
	require.NoError(t, a.Release(s.ctx, first))
	require.NoError(t, a.Release(s.ctx, first))
	second := s.claim(t, a, "alice", "main", 1)
	require.NoError(t, a.Release(s.ctx, first), "the claim is another one now")
	found, err := a.registry.Find(s.ctx, "alice", "main")
	require.NoError(t, err)
	require.Equal(t, second, found)
	full := a.request("alice", "other")
	full.Slots = 1
	_, err = a.Claim(s.ctx, full)
	require.ErrorIs(t, err, fleet.ErrQuota, "the slot is that of the second claim")
}

func testReplace(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	old := s.claim(t, a, "alice", "main", 1)
	request := b.request("alice", "main")
	request.Slots, request.Replace, request.LostAt = 1, &old, 1<<60
	s.requireTaken(t, b, request, old)

	lost := s.kill(t, a)
	request.LostAt = lost
	wrong := old
	wrong.Revision--
	stale := request
	stale.Replace = &wrong
	s.requireTaken(t, b, stale, old)
	replaced, err := b.Claim(s.ctx, request)
	require.NoError(t, err)
	require.Equal(t, old.Slot, replaced.Slot)
	found, err := b.registry.Find(s.ctx, "alice", "main")
	require.NoError(t, err)
	require.Equal(t, replaced, found)
	third := b.request("alice", "main")
	third.Replace, third.LostAt = &old, lost
	s.requireTaken(t, b, third, replaced)
}

// testReplaceReturned is a node that was lost, came back, and is lost again. Who has seen only the first loss must not take its
// names.
func testReplaceReturned(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	old := s.claim(t, a, "alice", "main", 0)
	first := s.kill(t, a)
	second := s.kill(t, s.join(t, "a"))
	request := b.request("alice", "main")
	request.Replace, request.LostAt = &old, first
	s.requireTaken(t, b, request, old)
	request.LostAt = second
	_, err := b.Claim(s.ctx, request)
	require.NoError(t, err)
}

func testForget(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	s.claim(t, a, "alice", "main", 1)
	require.ErrorIs(t, b.registry.Forget(s.ctx, "alice", "none"), fs.ErrNotExist)
	require.ErrorIs(t, b.registry.Forget(s.ctx, "alice", "main"), fleet.ErrNodeLives)
	s.kill(t, a)
	require.NoError(t, b.registry.Forget(s.ctx, "alice", "main"))
	require.ErrorIs(t, b.registry.Forget(s.ctx, "alice", "main"), fs.ErrNotExist)
	s.claim(t, b, "alice", "other", 1)
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

// decided makes a claim, as often as it takes to know what has become of it.
func (s *suite) decided(n *node, request fleet.ClaimRequest) (fleet.Claim, error) {
	for {
		c, err := n.Claim(s.ctx, request)
		if !errors.Is(err, fleet.ErrNoRegistry) {
			return c, err
		}
	}
}

// race lets each node claim each name, all at the same time, while the registry is disturbed. It returns the claims that were made.
func (s *suite) race(t *testing.T, names, slots int) map[string]fleet.Claim {
	nodes := []*node{s.join(t, "a"), s.join(t, "b"), s.join(t, "c")}
	var mu sync.Mutex
	made := map[string]fleet.Claim{}
	var racing sync.WaitGroup
	for _, n := range nodes {
		for i := range names {
			racing.Go(func() {
				request := n.request("alice", fmt.Sprint("name ", i))
				request.Slots = slots
				c, err := s.decided(n, request)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					if other, twice := made[c.Name]; twice {
						t.Errorf("%q was given to %q and %q", c.Name, other.ID, c.ID)
					}
					made[c.Name] = c
				case !errors.Is(err, fleet.ErrNameTaken) && !errors.Is(err, fleet.ErrQuota):
					t.Error(err)
				}
			})
		}
	}
	if s.Disturb != nil {
		s.Disturb()
	}
	racing.Wait()
	all, err := s.Open().Claims(s.ctx, "")
	require.NoError(t, err)
	require.Len(t, all, len(made))
	for _, c := range all {
		require.Equal(t, c, made[c.Name])
	}
	return made
}

func testRaceNames(t *testing.T, s *suite) { require.Len(t, s.race(t, 40, 0), 40) }

func testRaceSlots(t *testing.T, s *suite) {
	slots := map[int]bool{}
	for _, c := range s.race(t, 12, 5) {
		slots[c.Slot] = true
	}
	require.Len(t, slots, 5)
}

// testRaceJoin has many machines with the same name join at the same time.
func testRaceJoin(t *testing.T, s *suite) {
	var mu sync.Mutex
	joined := 0
	var racing sync.WaitGroup
	for i := range 6 {
		r := s.Open()
		racing.Go(func() {
			record := recordOf("a")
			record.Incarnation = fmt.Sprint("a-", i)
			_, err := r.Join(s.ctx, record)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				joined++
			case !errors.Is(err, fleet.ErrNodeTaken):
				t.Error(err)
			}
		})
	}
	racing.Wait()
	require.Equal(t, 1, joined)
}
