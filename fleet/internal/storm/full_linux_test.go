package storm_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// TestFull is what must hold, in full. README.md of the module has its figures.
func TestFull(t *testing.T) {
	if !longTests {
		t.Skip("takes long: set WSEP_LONG_TESTS; TestShare is a share of it")
	}
	s := newStorm(t, full)
	s.raceUnderKills()
	s.calm()
	s.killEach()
	s.refuse()
	s.killMember()
	s.restartAll()
	s.stopNode()
	s.drainOne()
}

// killPause is how often raceUnderKills kills something. A node that is killed more often than it can join has no names.
const killPause = 3 * time.Second

// raceUnderKills races for names while gateways and nodes are killed, one after the other.
func (s *storm) raceUnderKills() {
	var over atomic.Bool
	var killing sync.WaitGroup
	kills := 0
	killing.Go(func() {
		for victims := []*machine{s.gateways[0], s.nodes[0], s.gateways[1], s.nodes[1]}; !over.Load(); kills++ {
			m := victims[kills%len(victims)]
			m.kill()
			m.start()
			s.awaitAll()
			time.Sleep(killPause)
		}
	})
	s.race()
	over.Store(true)
	killing.Wait()
	s.t.Logf("%d starts raced for %d names under %d kills", s.size.sessions*s.size.racers, s.size.sessions, kills)
}

// killMember kills a member of etcd, with its gateway. Starts through the others stall for a short time.
func (s *storm) killMember() {
	var longest time.Duration
	for i, m := range s.gateways {
		other := s.gateways[(i+1)%len(s.gateways)]
		m.kill()
		for began, n := time.Now(), 0; time.Since(began) < 4*time.Second; n++ {
			start := time.Now()
			_, err := wsep.Output(s.ctx, s.through(other), wsep.Command{ID: fmt.Sprintf("member-%d-%d", i, n), Keep: time.Second, Command: "true"})
			require.NoError(s.t, err)
			longest = max(longest, time.Since(start))
		}
		m.start()
		s.awaitAll()
	}
	s.t.Logf("each member of etcd killed: starts stalled for %v at most", longest)
}

// restartAll restarts gateways, and then nodes, one after the other.
func (s *storm) restartAll() {
	holders := s.whileAttaching(func() {
		for _, m := range s.all() {
			m.end()
			m.start()
			s.awaitAll()
		}
	}).holders
	longest := holders[len(holders)*99/100].longest
	s.t.Logf("all restarted: 99th percentile of the longest waits %v, of %d clients", longest, len(holders))
	require.Less(s.t, longest, 3*time.Second)
}

// stopNode stops a node for 90 seconds. A name of it is given away after that time, the others are not. All IDs are served when it is back.
func (s *storm) stopNode() {
	node := s.nodes[2]
	name, _ := s.onNode(node.name)
	node.signal(syscall.SIGSTOP)
	stopped := time.Now()
	s.gateways[0].awaitNodes("n1, n2")
	s.t.Logf("node stopped: lost after %v", time.Since(stopped))
	for time.Since(stopped) < 90*time.Second {
		time.Sleep(time.Second)
		if time.Since(stopped) > 75*time.Second && !slices.Contains(s.given, name) {
			s.given = append(s.given, name)
			s.history.Freed("", name)
			a := s.reach(name, "")
			require.NotEqual(s.t, node.name, a.Node)
		}
	}
	node.signal(syscall.SIGCONT)
	s.awaitAll()
}
