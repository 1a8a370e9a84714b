// Package storm_test has the fleet's promises kept by real programs, while they are killed, stopped and drained.
package storm_test

import (
	"bufio"
	"cmp"
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
	network *network // nil means addresses of this machine

	gateways, nodes []*machine
	history         history.History
	ids             map[string]string  // by name
	given           []string           // names that were given away
	more            atomic.Int64       // names beside those of the size
	mayFail         func(*holder) bool // nil means that none may
}

// newStorm returns a storm at addresses of this machine.
func newStorm(t *testing.T, size size) *storm { return startStorm(t, size, nil) }

// startStorm starts a fleet.
func startStorm(t *testing.T, size size, network *network) *storm {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	s := &storm{
		t: t, ctx: ctx, size: size, program: build(t), network: network, trust: filepath.Join(t.TempDir(), "trust"), ids: map[string]string{},
	}
	var peers []string
	for i := range 3 {
		g := s.newGateway(fmt.Sprint("g", i+1))
		peers = append(peers, g.name+"="+g.ip+":7000")
		s.gateways = append(s.gateways, g)
	}
	s.peers = strings.Join(peers, ",")
	for i := range 3 {
		s.nodes = append(s.nodes, s.newNode(fmt.Sprint("n", i+1)))
	}
	for i, m := range s.all() {
		s.launch(m)
		if i == 0 { // It makes the fleet's secrets.
			require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(m.dir, "admin.sock")); return err == nil }, patience, pause, m.lines())
		}
	}
	s.awaitAll()
	return s
}

// newMachine returns a machine at an address of its own.
func (s *storm) newMachine(name string) *machine {
	ip, at := ownIP(), (*namespace)(nil)
	if s.network != nil {
		ip, at = s.network.connect()
	}
	return newMachine(s.t, s.program, name, ip, at)
}

func (s *storm) newGateway(name string) *machine {
	m := s.newMachine(name)
	m.args = []string{"--roles", "gateway", "--listen", m.ip + ":" + clientPort, "--token", token}
	return m
}

func (s *storm) newNode(name string) *machine {
	m := s.newMachine(name)
	m.args = []string{"--roles", "node", "--addr", m.ip + ":7002", "--session-timeout", "1h"}
	return m
}

// launch starts a machine of the fleet for the first time.
func (s *storm) launch(m *machine) {
	m.args = append(m.args, "--peers", s.peers, "--trust", s.trust)
	m.start()
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
	d := s.dialer(func() *machine { return g })
	d.Resume = -1
	return d
}

// token is what gateways that listen elsewhere than on a loopback address want.
const token = "storm"

// dialer returns a client that chooses a gateway for each connection.
func (s *storm) dialer(choose func() *machine) wsep.Dialer {
	return wsep.Dialer{
		URL:     "http://127.0.0.1", // is a name that any gateway accepts.
		Header:  http.Header{"Authorization": {"Bearer " + token}},
		MaxIdle: -1,
		HTTPClient: &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return s.hub().DialContext(ctx, network, choose().ip+":"+clientPort)
			},
		}},
	}
}

// hub is where clients run.
func (s *storm) hub() *namespace {
	if s.network == nil {
		return nil
	}
	return s.network.hub
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

// beside has so many workers do their work again and again, while something else is done.
func beside(workers int, work func(worker int), do func()) {
	var over atomic.Bool
	var working sync.WaitGroup
	defer working.Wait()
	defer over.Store(true)
	for i := range workers {
		working.Go(func() {
			for !over.Load() {
				work(i)
			}
		})
	}
	do()
}

func nameOf(i int) string { return fmt.Sprintf("name-%04d", i) }

// race starts each session through several gateways at the same time.
func (s *storm) race() {
	parallel(s.size.sessions, func(i int) {
		s.raceFor(i) // Whoever has failed tries again.
		s.reach(nameOf(i), "")
	})
}

// raceFor starts a session through several gateways at the same time. It reports whether anybody has reached it.
func (s *storm) raceFor(i int) bool {
	var racing sync.WaitGroup
	var reached atomic.Bool
	for r := range s.size.racers {
		g := s.gateways[(i+r)%len(s.gateways)]
		racing.Go(func() {
			if _, err := s.attach(g, nameOf(i), ""); err == nil {
				reached.Store(true)
			}
		})
	}
	racing.Wait()
	return reached.Load()
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
	gateway string // the first one
	node    string // where the command runs
	out     *bufio.Reader
	done    chan struct{}
	running sync.WaitGroup
	longest time.Duration // that an answer took
	err     error
}

// hold starts a holder.
func (s *storm) hold() *holder {
	first := s.anyGateway()
	var begun atomic.Bool
	d := s.dialer(func() *machine {
		if begun.Swap(true) {
			return s.anyGateway()
		}
		return first
	})
	script := "echo $WSEP_TEST_NODE; while read line; do echo $$ $line; done"
	p, err := d.Start(s.ctx, wsep.Command{Command: "sh", Stdin: true, Args: []string{"-c", script}})
	require.NoError(s.t, err)
	h := &holder{gateway: first.name, out: bufio.NewReader(p.Stdout()), done: make(chan struct{})}
	node, err := h.out.ReadString('\n')
	require.NoError(s.t, err)
	h.node = strings.TrimSpace(node)
	h.running.Go(func() { h.talk(p) })
	return h
}

// end ends a holder. The error is its command's.
func (h *holder) end() error {
	close(h.done)
	h.running.Wait()
	return h.err
}

// talk says a line again and again, until the holder is done.
func (h *holder) talk(p wsep.Process) {
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
		line, err := h.out.ReadString('\n')
		h.longest, h.err = max(h.longest, time.Since(began)), err
		got, said, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err == nil && (pid != "" && got != pid || said != fmt.Sprint(i)) {
			h.err = fmt.Errorf("line %d of %s is %q", i, pid, line)
		}
		pid = got
	}
}

// effect is what clients have noticed.
type effect struct {
	holders []*holder     // that have waited; the last one has waited longest
	slowest time.Duration // that an attach has taken, whether it has succeeded or not
}

// whileAttaching does something while clients attach at random, and others hold a command each. What the clients get is noted.
func (s *storm) whileAttaching(do func()) (seen effect) {
	for range s.size.holders {
		seen.holders = append(seen.holders, s.hold())
	}
	slowest := make([]time.Duration, 3)
	beside(len(slowest), func(i int) {
		name, id := nameOf(rand.IntN(s.size.sessions)), ""
		if rand.IntN(2) == 0 {
			id = s.ids[name]
		}
		a, _ := s.attach(s.anyGateway(), name, id) // The history says what it may not get.
		slowest[i] = max(slowest[i], a.Ended.Sub(a.Began))
	}, do)
	for _, h := range seen.holders {
		if err := h.end(); err != nil && (s.mayFail == nil || !s.mayFail(h)) {
			s.t.Errorf("holder through %s at %s: %v", h.gateway, h.node, err)
		}
	}
	slices.SortFunc(seen.holders, func(a, b *holder) int { return cmp.Compare(a.longest, b.longest) })
	seen.slowest = slices.Max(slowest)
	return seen
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
	for _, by := range []string{"", id} {
		began := time.Now()
		_, err := s.attach(s.anyGateway(), name, by)
		require.ErrorIs(s.t, err, wsep.ErrDisconnected)
		unreachable = max(unreachable, time.Since(began))
	}
	return unreachable
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
	m := s.newNode(name)
	s.launch(m)
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
func (s *storm) say(what string, seen effect) {
	s.t.Logf("%s: longest wait %v, of %d clients", what, seen.holders[len(seen.holders)-1].longest, len(seen.holders))
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
