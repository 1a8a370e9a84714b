// Package storm_test has the fleet's promises kept by real programs, while they are killed, stopped and drained.
package storm_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/internal/history"
)

// size is how much a storm does.
type size struct {
	sessions, racers, attaches, holders int
}

var (
	share = size{sessions: 150, racers: 2, attaches: 300, holders: 4}
	full  = size{sessions: 1000, racers: 6, attaches: 10_000, holders: 40}
)

var longTests = os.Getenv("WSEP_LONG_TESTS") != ""

// storm is a fleet of three gateways, each with a member of etcd, and three nodes.
type storm struct {
	t     *testing.T
	ctx   context.Context
	size  size
	trust string
	peers string

	program string

	gateways, nodes []*machine
	history         history.History
	ids             map[string]string // by name
	given           []string          // names that were given away
}

func newStorm(t *testing.T, size size) *storm {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	s := &storm{t: t, ctx: ctx, size: size, program: build(t), trust: filepath.Join(t.TempDir(), "trust"), ids: map[string]string{}}
	var peers []string
	for i := range 3 {
		ip := ownIP()
		name := fmt.Sprint("g", i+1)
		peers = append(peers, name+"="+ip+":7000")
		s.gateways = append(s.gateways, newMachine(t, s.program, name, ip, "--roles", "gateway", "--listen", ip+":"+clientPort))
	}
	s.peers = strings.Join(peers, ",")
	for i := range 3 {
		ip := ownIP()
		s.nodes = append(s.nodes, newMachine(t, s.program, fmt.Sprint("n", i+1), ip, "--roles", "node", "--addr", ip+":7002", "--session-timeout", "1h"))
	}
	for i, m := range s.all() {
		m.args = append(m.args, "--peers", s.peers, "--trust", s.trust)
		m.start()
		if i == 0 { // It makes the fleet's secrets.
			require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(m.dir, "admin.sock")); return err == nil }, patience, pause, m.lines())
		}
	}
	s.awaitAll()
	return s
}

func (s *storm) all() []*machine { return append(slices.Clone(s.gateways), s.nodes...) }

// awaitAll waits until all gateways know all nodes.
func (s *storm) awaitAll() {
	s.t.Helper()
	for _, g := range s.gateways {
		g.awaitNodes("n1, n2, n3")
	}
}

// through returns a client of a gateway.
func (s *storm) through(g *machine) wsep.Dialer {
	return wsep.Dialer{URL: "http://" + g.ip + ":" + clientPort, MaxIdle: -1, Resume: -1}
}

func (s *storm) anyGateway() *machine { return s.gateways[rand.IntN(len(s.gateways))] }

// shellCommand tells the shell's token and node. A process's number is its own on this machine while it lives.
var shellCommand = []string{"-c", `echo "$$ $WSEP_TEST_NODE"; exec sleep 100000`}

// attach starts a session or attaches to it, by name, or by ID if that is given, and notes what it gets.
func (s *storm) attach(g *machine, name, id string) (history.Attach, error) {
	c := wsep.Command{ID: name, Keep: time.Hour, Command: "sh", Args: shellCommand}
	if id != "" {
		c.ID = id
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	a := history.Attach{Name: name, ID: id, Began: time.Now()}
	p, err := s.through(g).Start(ctx, c)
	if err == nil {
		var line string
		line, err = bufio.NewReader(p.Stdout()).ReadString('\n')
		a.Created = p.(wsep.Sessioner).Session() == wsep.SessionCreated
		cancel()
		_ = p.Wait()
		if fields := strings.Fields(line); err == nil && len(fields) == 2 {
			a.Token, a.Node = fields[0], fields[1]
		}
	}
	a.Ended, a.NotFound = time.Now(), errors.Is(err, fs.ErrNotExist)
	s.history.Note(a)
	return a, err
}

// reach attaches until it succeeds.
func (s *storm) reach(name, id string) history.Attach {
	for began := time.Now(); ; time.Sleep(pause) {
		a, err := s.attach(s.anyGateway(), name, id)
		if err == nil && a.Token != "" {
			return a
		}
		if time.Since(began) > patience {
			s.t.Errorf("%s %s: %v", name, id, err)
			return a
		}
	}
}

// workers is how many clients do something at the same time.
const workers = 8

// parallel does something count times.
func parallel(count int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

func nameOf(i int) string { return fmt.Sprintf("name-%04d", i) }

// race starts each session through several gateways at the same time.
func (s *storm) race() {
	parallel(s.size.sessions, func(i int) {
		var racing sync.WaitGroup
		for r := range s.size.racers {
			g := s.gateways[(i+r)%len(s.gateways)]
			racing.Go(func() { _, _ = s.attach(g, nameOf(i), "") }) // Whoever has failed tries again below.
		}
		racing.Wait()
		s.reach(nameOf(i), "")
	})
}

// learnIDs asks the fleet for the sessions' IDs.
func (s *storm) learnIDs() {
	var listing struct {
		Sessions []struct{ Name, ID string }
		Silent   []string
	}
	require.Eventually(s.t, func() bool { // A busy machine may keep a node from its answer.
		err := s.gateways[0].ask(s.ctx, http.MethodGet, "/ls", &listing)
		return err == nil && len(listing.Silent) == 0 && len(listing.Sessions) == s.size.sessions
	}, patience, pause)
	for _, session := range listing.Sessions {
		s.ids[session.Name] = session.ID
	}
}

// attachAtRandom attaches by ID, or by name, through any gateway. It returns what the registry was asked meanwhile.
func (s *storm) attachAtRandom(count int, byID bool) (calls float64) {
	before := s.registryCalls()
	parallel(count, func(int) {
		name, id := nameOf(rand.IntN(s.size.sessions)), ""
		if byID {
			id = s.ids[name]
		}
		if a, err := s.attach(s.anyGateway(), name, id); err != nil || a.Token == "" {
			s.t.Errorf("%s %s: %v", name, id, err)
		}
	})
	return s.registryCalls() - before
}

func (s *storm) registryCalls() (calls float64) {
	for _, m := range s.all() {
		calls += m.registryCalls()
	}
	return calls
}

// settle reaches so many sessions once more, by name and by ID, and checks the history.
func (s *storm) settle(sessions int) {
	s.awaitAll()
	settled := time.Now()
	parallel(sessions, func(i int) {
		s.reach(nameOf(i), "")
		if id := s.ids[nameOf(i)]; id != "" {
			s.reach(nameOf(i), id)
		}
	})
	for _, v := range s.history.Check(settled) {
		s.t.Error(v)
	}
}

// holder is a client whose command says again what it is told. It comes back through any gateway.
type holder struct {
	done chan struct{}
	gaps []time.Duration // how long each answer took
	err  error
}

// hold starts a holder. The result ends it.
func (s *storm) hold() (end func() []time.Duration) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.anyGateway().ip+":"+clientPort)
		},
	}}
	d := wsep.Dialer{URL: "http://127.0.0.1", HTTPClient: client, MaxIdle: -1}
	p, err := d.Start(s.ctx, wsep.Command{Command: "sh", Stdin: true, Args: []string{"-c", "while read line; do echo $$ $line; done"}})
	require.NoError(s.t, err)
	h := &holder{done: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { h.talk(p) })
	return func() []time.Duration {
		close(h.done)
		running.Wait()
		if h.err != nil {
			s.t.Errorf("holder: %v", h.err)
		}
		return h.gaps
	}
}

// talk says a line again and again, until the holder is done.
func (h *holder) talk(p wsep.Process) {
	out := bufio.NewReader(p.Stdout())
	pid := ""
	for i := 0; h.err == nil; i++ {
		select {
		case <-h.done:
			h.err = errors.Join(p.Stdin().Close(), p.Wait())
			return
		case <-time.After(pause):
		}
		began := time.Now()
		if _, h.err = fmt.Fprintf(p.Stdin(), "%d\n", i); h.err != nil {
			return
		}
		line, err := out.ReadString('\n')
		h.gaps, h.err = append(h.gaps, time.Since(began)), err
		got, said, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err == nil && (pid != "" && got != pid || said != fmt.Sprint(i)) {
			h.err = fmt.Errorf("line %d of %s is %q", i, pid, line)
		}
		pid = got
	}
}

// whileAttaching does something while clients attach at random, and others hold a command each. What the clients get is noted. It returns
// the holders' longest wait each, sorted.
func (s *storm) whileAttaching(do func()) (waits []time.Duration) {
	var ends []func() []time.Duration
	for range s.size.holders {
		ends = append(ends, s.hold())
	}
	var over atomic.Bool
	var attaching sync.WaitGroup
	for range 3 {
		attaching.Go(func() {
			for !over.Load() {
				name, id := nameOf(rand.IntN(s.size.sessions)), ""
				if rand.IntN(2) == 0 {
					id = s.ids[name]
				}
				_, _ = s.attach(s.anyGateway(), name, id) // The history says what it may not get.
			}
		})
	}
	do()
	over.Store(true)
	attaching.Wait()
	for _, end := range ends {
		waits = append(waits, slices.Max(append(end(), 0)))
	}
	slices.Sort(waits)
	return waits
}

// onNode returns a session of a node.
func (s *storm) onNode(node string) (name, id string) {
	for name, id := range s.ids {
		if parsed, err := fleet.ParseID(id); err == nil && parsed.Node == node {
			return name, id
		}
	}
	s.t.Fatalf("node %s has no session", node)
	return "", ""
}

// killNode kills a node's program. Its sessions are unreachable within 11 seconds, and nobody starts others in their place.
func (s *storm) killNode(m *machine) (unreachable time.Duration) {
	name, id := s.onNode(m.name)
	m.kill()
	began := time.Now()
	for _, by := range []string{"", id} {
		_, err := s.attach(s.anyGateway(), name, by)
		require.ErrorIs(s.t, err, wsep.ErrDisconnected)
	}
	return time.Since(began)
}

func (s *storm) drain(m *machine) {
	var status fleet.NodeStatus
	require.NoError(s.t, s.gateways[1].ask(s.ctx, http.MethodPost, "/drain?node="+m.name, &status))
	s.history.Drained(m.name)
	require.Equal(s.t, fleet.NodeDraining, status.State)
}

// refuse asks for sessions by IDs that nobody may use.
func (s *storm) refuse() {
	_, text := s.onNode("n3")
	id, err := fleet.ParseID(text)
	require.NoError(s.t, err)
	ring, err := os.ReadFile(filepath.Join(s.trust, "keys"))
	require.NoError(s.t, err)
	keys, err := fleet.ParseKeyRing(ring)
	require.NoError(s.t, err)
	for what, tc := range map[string]struct {
		id   string
		want error
	}{
		"forged":  {text[:len(text)-8] + "AAAAAAAA", fs.ErrPermission},
		"foreign": {fleet.NewKeyRing().New(id.Node, id.Incarnation, "").String(), fs.ErrPermission},
		"other":   {keys.New(id.Node, id.Incarnation, "bob").String(), fs.ErrPermission},
		"old":     {keys.New(id.Node, "before", "").String(), fs.ErrNotExist},
	} {
		_, err := s.through(s.anyGateway()).Start(s.ctx, wsep.Command{ID: tc.id})
		require.ErrorIs(s.t, err, tc.want, what)
	}
}

// clone starts a machine with the name of a node. The result waits until it has ended because of that.
func (s *storm) clone(name string) (refused func()) {
	ip := ownIP()
	m := newMachine(s.t, s.program, name, ip, "--roles", "node", "--addr", ip+":7002", "--peers", s.peers, "--trust", s.trust)
	m.start()
	return func() {
		require.Equal(s.t, 1, m.await(), m.lines())
		require.Contains(s.t, m.lines().String(), "another machine is in the fleet as "+name)
	}
}

// TestShare is the share of the promises that is tested each time: one fault of each kind.
func TestShare(t *testing.T) {
	s := newStorm(t, share)
	refused := s.clone("n3")
	s.race()
	s.calm()
	s.killEach()
	s.refuse()
	s.drainOne()
	refused()
}

// calm attaches while there are no faults. The registry is not asked.
func (s *storm) calm() {
	s.learnIDs()
	half := s.size.attaches / 2
	require.Zero(s.t, s.attachAtRandom(half, true), "IDs need no registry")
	calls := s.attachAtRandom(half, false)
	require.LessOrEqual(s.t, calls, float64(half)/100, "known names need no registry")
	s.t.Logf("%d attaches by ID: the registry was not asked; as many by name: asked %v times", half, calls)
}

// killEach kills a node, and a gateway with its member of etcd.
func (s *storm) killEach() {
	node, gateway := s.nodes[0], s.gateways[0]
	s.say("node killed", s.whileAttaching(func() {
		s.t.Logf("node killed: unreachable after %v", s.killNode(node))
		node.start()
		s.awaitAll()
	}))
	s.say("gateway and its member of etcd killed", s.whileAttaching(func() {
		gateway.kill()
		gateway.start()
		s.awaitAll()
	}))
}

// say logs how long the holders have waited.
func (s *storm) say(what string, waits []time.Duration) {
	s.t.Logf("%s: longest wait %v, of %d clients", what, waits[len(waits)-1], len(waits))
}

// drainOne drains a node. Nothing is placed there after that. Then it is started again.
func (s *storm) drainOne() {
	node, all := s.nodes[1], s.size.sessions+20
	s.drain(node)
	parallel(20, func(i int) { s.reach(nameOf(s.size.sessions+i), "") })
	node.end()
	s.history.Undrained(node.name)
	node.start()
	s.settle(all)
}
