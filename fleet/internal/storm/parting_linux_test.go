package storm_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
)

var (
	partedShare = size{sessions: 30, racers: 2, holders: 6}
	partedFull  = size{sessions: 60, racers: 2, holders: 12}
)

const (
	// shortly is longer than a node's lease, and shorter than a client waits for its connection.
	shortly = 12 * time.Second
	// lostAfter is how long a node is lost before its names are given away.
	lostAfter = time.Minute
	// racePause is the time between two new names.
	racePause = 200 * time.Millisecond
)

// startParted starts a fleet in a network of its own. It has a gateway g4 too, which keeps no registry, and sessions.
func startParted(t *testing.T, size size) *storm {
	s := startStorm(t, size, newNetwork(t))
	g := s.newGateway("g4")
	s.gateways = append(s.gateways, g)
	s.launch(g)
	s.awaitAll()
	s.race()
	s.learnIDs()
	return s
}

// TestParted parts a node and a gateway, and has another node alone.
func TestParted(t *testing.T) {
	s := startParted(t, partedShare)
	s.partNode(s.nodes[1], pairs{{s.nodes[0], s.gateways[0]}}...)
	s.settleAll()
}

// TestEachParted parts each pair of machines. If these are gateways, all starts go on.
func TestEachParted(t *testing.T) {
	skipPartings(t)
	s := startParted(t, partedFull)
	for i, a := range s.all() {
		for _, b := range s.all()[:i] {
			failed := s.partShortly(a.name+" and "+b.name, pairs{{a, b}})
			require.True(t, failed == 0 || slices.Contains(s.nodes, a), "a majority of the registry is there, and all nodes are")
		}
	}
	s.settleAll()
}

// TestEachAlone has each machine alone, for longer than a node's lease. Clients reach the gateways.
func TestEachAlone(t *testing.T) {
	skipPartings(t)
	s := startParted(t, partedFull)
	for _, g := range s.gateways {
		s.partShortly(g.name+" alone", s.around(g))
	}
	for _, n := range s.nodes {
		s.partNode(n)
	}
	s.settleAll()
}

// TestIsland parts a node and a gateway from all others, but not from each other, until names of the node are given away. When the node
// is back, the gateway still knows nothing of that.
func TestIsland(t *testing.T) {
	skipPartings(t)
	s := startParted(t, partedFull)
	node, gateway := s.nodes[0], s.gateways[3]
	mainland := slices.Concat(s.gateways[:3], s.nodes[1:])
	aroundNode, aroundGateway := between([]*machine{node}, mainland), between([]*machine{gateway}, mainland)
	name, id := s.onNode(node.name)
	s.mayFail = func(h *holder) bool { return slices.Concat(aroundNode, aroundGateway).have(h.gateway, h.node) }
	s.whileParted("island of n1 and g4", slices.Concat(aroundNode, aroundGateway), func() {
		aroundGateway.part()
		aroundNode.part()
		began := time.Now()
		s.gateways[0].awaitNodes("n2, n3")
		t.Logf("node lost after %v", time.Since(began))
		time.Sleep(time.Until(began.Add(lostAfter)))
		s.freeAll(node)
		s.awaitGiven(name, node)
		t.Logf("name given away after %v", time.Since(began))
		s.checkIDOnly(gateway, name, id)
		aroundNode.heal()
		s.gateways[0].awaitNodes("n1, n2, n3")
		s.checkIDOnly(gateway, name, id)
		aroundGateway.heal()
	})
	s.settleAll()
}

func skipPartings(t *testing.T) {
	if !longTests {
		t.Skip("takes long: set WSEP_LONG_TESTS; TestParted is a share of it")
	}
}

// around returns the pairs of a machine and each other one.
func (s *storm) around(m *machine) pairs {
	others := slices.DeleteFunc(s.all(), func(other *machine) bool { return other == m })
	return between([]*machine{m}, others)
}

// partShortly parts machines for a short time. It returns how many new names could not be started.
func (s *storm) partShortly(what string, p pairs) (failed int) {
	return s.whileParted(what, p, func() {
		p.part()
		time.Sleep(shortly)
		p.heal()
	})
}

// partNode has a node alone for a short time, and more pairs parted. The node's sessions are unreachable within 11 seconds, and nobody
// starts others in their place.
func (s *storm) partNode(node *machine, more ...[2]*machine) {
	name, id := s.onNode(node.name)
	p := append(s.around(node), more...)
	s.whileParted(node.name+" alone", p, func() {
		p.part()
		began := time.Now()
		for _, by := range []string{"", id} {
			a, err := s.attach(s.anyGateway(), name, by)
			require.ErrorIs(s.t, err, wsep.ErrDisconnected)
			require.Less(s.t, a.Ended.Sub(a.Began), 11*time.Second)
			s.t.Logf("%s unreachable after %v", node.name, a.Ended.Sub(a.Began))
		}
		require.Eventually(s.t, func() bool { return !s.gateways[0].knows("n1, n2, n3") }, patience, pause)
		s.t.Logf("%s lost after %v", node.name, time.Since(began))
		time.Sleep(time.Until(began.Add(shortly)))
		p.heal()
	})
}

// whileParted does something that parts machines, and heals them, while clients attach at random, race for new names, and hold commands.
// It returns how many new names could not be started.
func (s *storm) whileParted(what string, p pairs, do func()) (failed int) {
	before := map[*machine]int{}
	for _, g := range s.gateways {
		before[g] = len(g.told())
	}
	var back time.Duration
	named := s.more.Load()
	seen := s.whileAttaching(func() {
		failed = s.whileRacing(func() {
			do()
			healed := time.Now()
			s.awaitAll()
			back = time.Since(healed)
		})
	})
	var across, others time.Duration // The holders are sorted.
	for _, h := range seen.holders {
		if p.have(h.gateway, h.node) {
			across = h.longest
		} else {
			others = h.longest
		}
	}
	s.t.Logf("%s: longest wait of a client across %v, of another %v; slowest attach %v; %d of %d new names not started; all known %v after",
		what, across, others, seen.slowest, failed, s.more.Load()-named, back)
	for _, g := range s.gateways {
		if told := g.told()[before[g]:]; len(told) > 0 {
			s.t.Logf("%s: %s knew %q", what, g.name, told)
		}
	}
	return failed
}

// whileRacing does something while clients race for new names. It returns how many could not be started.
func (s *storm) whileRacing(do func()) (failed int) {
	var lost atomic.Int64
	beside(3, func(int) {
		if !s.raceFor(s.size.sessions + int(s.more.Add(1)) - 1) {
			lost.Add(1)
		}
		time.Sleep(racePause)
	}, do)
	return int(lost.Load())
}

// settleAll settles all sessions, also those of new names.
func (s *storm) settleAll() {
	more := int(s.more.Load())
	s.t.Logf("%d new names", more)
	s.settle(s.size.sessions + more)
}

// freeAll notes that the names of a node can be given away.
func (s *storm) freeAll(node *machine) {
	for name, id := range s.ids {
		if parsed, err := fleet.ParseID(id); err == nil && parsed.Node == node.name {
			s.history.Freed("", name)
		}
	}
}

// awaitGiven starts a session with the name of a lost node's until that succeeds.
func (s *storm) awaitGiven(name string, lost *machine) {
	require.Eventually(s.t, func() bool {
		a, err := s.attach(s.gateways[0], name, "")
		return err == nil && a.Token != "" && a.Node != lost.name
	}, patience, pause)
}

// checkIDOnly checks that a gateway, which knows nothing of it, does not serve a name that was given away. It serves the ID.
func (s *storm) checkIDOnly(g *machine, name, id string) {
	s.t.Helper()
	a, err := s.attach(g, name, "")
	assert.Error(s.t, err)
	assert.False(s.t, a.NotFound, err)
	a, err = s.attach(g, name, id)
	assert.NoError(s.t, err)
	assert.NotEmpty(s.t, a.Token)
}
