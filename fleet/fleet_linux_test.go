package fleet_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/internal/keepertest"
	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/keeper"
)

const patience = 30 * time.Second

// network is a fleet: nodes with keepers in processes of their own, and gateways with listeners of their own.
type network struct {
	t         *testing.T
	ctx       context.Context
	open      func() fleet.Registry // as one more program has it
	memory    *fleet.Memory         // nil if the registry is another one
	registry  *fragile              // the same
	keys      *fleet.KeyRing
	authority *fleet.Authority
	nodes     []*runningNode
	gateways  []*gateway
}

// fragile is a registry that can't be reached while it is down.
type fragile struct {
	*fleet.Memory
	down  atomic.Bool
	stale atomic.Bool   // nodes can't change their records
	stuck atomic.Bool   // nodes can't release claims
	holds atomic.Bool   // claims wait for the test's end
	held  chan struct{} // learns of each claim that waits
	test  context.Context
}

var errDown = fleet.NoRegistry(errors.New("it is down"))

func (f *fragile) Find(ctx context.Context, owner, name string) (fleet.Claim, error) {
	if f.down.Load() {
		return fleet.Claim{}, errDown
	}
	return f.Memory.Find(ctx, owner, name)
}

func (f *fragile) Join(ctx context.Context, r fleet.NodeRecord) (fleet.Membership, error) {
	if f.down.Load() {
		return nil, errDown
	}
	m, err := f.Memory.Join(ctx, r)
	return &fragileMember{m, f}, err
}

type fragileMember struct {
	fleet.Membership
	registry *fragile
}

func (m *fragileMember) Update(ctx context.Context, r fleet.NodeRecord) error {
	if m.registry.down.Load() || m.registry.stale.Load() {
		return errDown
	}
	return m.Membership.Update(ctx, r)
}

func (m *fragileMember) Claim(ctx context.Context, r fleet.ClaimRequest) (fleet.Claim, error) {
	if m.registry.down.Load() {
		return fleet.Claim{}, errDown
	}
	if m.registry.holds.Load() {
		return fleet.Claim{}, holdUp(m.registry.test, m.registry.held)
	}
	return m.Membership.Claim(ctx, r)
}

func (m *fragileMember) Release(ctx context.Context, c fleet.Claim) error {
	if m.registry.stuck.Load() {
		return errDown
	}
	return m.Membership.Release(ctx, c)
}

func newNetwork(t *testing.T, nodes int) *network {
	memory := fleet.NewMemory()
	registry := &fragile{Memory: memory, held: make(chan struct{}), test: t.Context()}
	f := newNetworkOver(t, nodes, func() fleet.Registry { return registry })
	f.memory, f.registry = memory, registry
	return f
}

// newNetworkOver is a fleet with any registry.
func newNetworkOver(t *testing.T, nodes int, open func() fleet.Registry) *network {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	t.Cleanup(cancel)
	authority, err := fleet.NewAuthority()
	require.NoError(t, err)
	f := &network{t: t, ctx: ctx, open: open, keys: fleet.NewKeyRing(), authority: authority}
	for i := range nodes {
		f.addNode(fmt.Sprint("n", i+1))
	}
	for i := range 2 {
		f.addGateway(fmt.Sprint("g", i+1))
	}
	f.awaitNodes(nodes)
	return f
}

// runningNode is a node. Its keeper goes on when it stops.
type runningNode struct {
	*fleet.Node
	net       *network
	keeper    keeper.Execer
	hold      chan struct{} // if set, the keeper learns of each start there, which then waits for the test's end
	metrics   *fleet.Metrics
	address   string
	listener  *countedListener
	inherited *os.File // if set, the next start listens at this socket
	stop      func()
}

func (f *network) addNode(name string) *runningNode {
	dir, err := os.MkdirTemp("", "f")
	require.NoError(f.t, err)
	n := &runningNode{net: f, keeper: keeper.Execer{Dir: dir, Idle: patience}, metrics: fleet.NewMetrics(), address: ownAddress()}
	n.start(name)
	f.nodes = append(f.nodes, n)
	f.t.Cleanup(func() {
		n.stop()
		keepertest.End(f.t, dir)
		require.NoError(f.t, os.RemoveAll(dir))
	})
	return n
}

// ownAddress returns an IP address of this machine that nobody else uses, and any port. A node that starts again needs the same one.
func ownAddress() string {
	return fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
}

// holdingKeeper is a keeper that can hold starts.
type holdingKeeper struct {
	keeper.Execer
	hold chan struct{}
	test context.Context
}

func (k holdingKeeper) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	if k.hold == nil {
		return k.Execer.Start(ctx, c)
	}
	return nil, holdUp(k.test, k.hold)
}

// holdUp says that something is held, and holds it until the test ends. It heeds no other context: the program that it is part of ends
// before it answers.
func holdUp(test context.Context, held chan<- struct{}) error {
	select {
	case held <- struct{}{}:
	case <-test.Done():
	}
	<-test.Done()
	return test.Err()
}

// listen listens where gateways look for the node.
func (n *runningNode) listen() (net.Listener, error) {
	if n.inherited == nil {
		return net.Listen("tcp", n.address)
	}
	defer func() { n.inherited = nil }()
	defer n.inherited.Close()
	return net.FileListener(n.inherited)
}

// start starts the node's program, or starts it again.
func (n *runningNode) start(name string) {
	f := n.net
	incarnation, err := fleet.Incarnation(n.keeper.Dir)
	require.NoError(f.t, err)
	cert, err := f.authority.Issue(name, fleet.RoleNode)
	require.NoError(f.t, err)
	plain, err := n.listen()
	require.NoError(f.t, err)
	n.address, n.listener = plain.Addr().String(), &countedListener{Listener: plain}
	listener := tls.NewListener(n.listener, fleet.NodeTLS(cert, f.authority.Pool()))
	n.Node = &fleet.Node{
		Record: fleet.NodeRecord{Name: name, Incarnation: incarnation, Address: n.address},
		Keeper: holdingKeeper{n.keeper, n.hold, f.t.Context()}, Keys: f.keys, Registry: f.open(),
		Metrics: n.metrics,
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: n.Handler(), BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: log.New(leaktest.OnlyPanics, "", 0)}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	running.Go(func() { _ = n.Run(ctx) })
	n.stop = sync.OnceFunc(func() {
		cancel()
		_ = server.Close()
		running.Wait()
	})
}

// serveLocally serves a gateway of the node's own program.
func (n *runningNode) serveLocally() *fleet.Local {
	local := fleet.NewLocal(n.Record.Name)
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: n.Handler(), BaseContext: func(net.Listener) context.Context { return ctx }}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(local) })
	stop := n.stop
	n.stop = sync.OnceFunc(func() {
		cancel()
		_ = server.Close()
		running.Wait()
		stop()
	})
	return local
}

// gateway is a gateway, and a way to reach its Execer without clients.
type gateway struct {
	fleet.Execer
	address string
}

// ownerOf returns a request's owner: its header Owner.
func ownerOf(r *http.Request) (string, error) { return r.Header.Get("Owner"), nil }

// addGateway adds a gateway.
func (f *network) addGateway(name string) {
	cert, err := f.authority.Issue(name, fleet.RoleGateway)
	require.NoError(f.t, err)
	metrics := fleet.NewMetrics()
	view := fleet.NewView(metrics.Registry(f.open()))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { view.Run(ctx) })
	g := &gateway{Execer: fleet.Execer{
		View: view, Keys: f.keys, TLS: fleet.GatewayTLS(cert, f.authority.Pool()), Resume: time.Minute, Metrics: metrics,
	}}
	server := httptest.NewUnstartedServer(&wsep.Handler{
		Execer: g.Execer, Authorize: ownerOf,
	})
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	g.address = server.Listener.Addr().String()
	f.gateways = append(f.gateways, g)
	f.t.Cleanup(func() {
		cancel()
		server.Close()
		running.Wait()
	})
}

// awaitNodes waits until each gateway knows so many nodes that start commands.
func (f *network) awaitNodes(count int) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		for _, g := range f.gateways {
			ready := 0
			for _, n := range g.View.Nodes() {
				if n.State == fleet.NodeReady {
					ready++
				}
			}
			if ready != count {
				return false
			}
		}
		return true
	}, patience, 10*time.Millisecond)
}

// as returns an owner's client of a gateway.
func (f *network) as(owner string, gateway int) wsep.Dialer {
	return wsep.Dialer{URL: "ws://" + f.gateways[gateway].address, Header: http.Header{"Owner": {owner}}, MaxIdle: -1}
}

// shell is a session that tells its PID, and stays.
func shell(id string) wsep.Command {
	return wsep.Command{ID: id, Keep: time.Hour, Command: "sh", Args: []string{"-c", "echo $$; exec sleep 1000"}}
}

// token starts a session, or attaches to one, and returns what it says first.
func (f *network) token(e wsep.Execer, c wsep.Command) (string, wsep.SessionOrigin, error) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	p, err := e.Start(ctx, c)
	if err != nil {
		return "", 0, err
	}
	line, err := bufio.NewReader(p.Stdout()).ReadString('\n')
	cancel()
	_ = p.Wait()
	return line, p.(wsep.Sessioner).Session(), err
}

func (f *network) requireToken(e wsep.Execer, c wsep.Command, origin wsep.SessionOrigin) string {
	f.t.Helper()
	token, got, err := f.token(e, c)
	require.NoError(f.t, err)
	require.Equal(f.t, origin, got)
	return token
}

func (f *network) claim(owner, name string) fleet.Claim {
	f.t.Helper()
	c, err := f.open().Find(f.ctx, owner, name)
	require.NoError(f.t, err)
	return c
}

// node returns the node that has a claim's session.
func (f *network) node(c fleet.Claim) *runningNode {
	for _, n := range f.nodes {
		if n.Record.Name == c.Node() {
			return n
		}
	}
	f.t.Fatal("the session has no node")
	return nil
}

// TestNames starts sessions by name, and attaches to them through another gateway.
func TestNames(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 3)
	// To a Server an owner is part of the ID.
	for owner, names := range map[string][]string{"": {"main", "5:alice:x"}, "alice": {"main", "a/b"}, "5:alice:": {"x"}} {
		for _, name := range names {
			token := f.requireToken(f.as(owner, 0), shell(name), wsep.SessionCreated)
			require.Equal(t, token, f.requireToken(f.as(owner, 1), shell(name), wsep.SessionFound))
			require.Equal(t, token, f.requireToken(f.as(owner, 1), wsep.Command{ID: name}, wsep.SessionFound))
			id := f.claim(owner, name).ID
			require.Equal(t, token, f.requireToken(f.as(owner, 0), wsep.Command{ID: id}, wsep.SessionFound))
			require.Equal(t, token, f.requireToken(f.as(owner, 1), shell(id), wsep.SessionFound))
			_, _, err := f.token(f.as("bob", 0), wsep.Command{ID: id})
			require.ErrorIs(t, err, fs.ErrPermission)
		}
		infos, err := f.as(owner, 1).Sessions(f.ctx)
		require.NoError(t, err)
		require.Len(t, infos, len(names))
	}
	_, _, err := f.token(f.as("bob", 0), wsep.Command{ID: "main"})
	require.ErrorIs(t, err, fs.ErrNotExist)

	first := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionFound)
	old := f.claim("alice", "main").ID
	require.NoError(t, f.as("alice", 1).CloseSession(f.ctx, "main", "over"))
	_, _, err = f.token(f.as("alice", 0), wsep.Command{ID: "main"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotEqual(t, first, f.requireToken(f.as("alice", 1), shell("main"), wsep.SessionCreated))
	_, _, err = f.token(f.as("alice", 0), shell(old))
	require.ErrorIs(t, err, fs.ErrNotExist, "an ID starts nothing")
}

// TestRace starts sessions of the same names through both gateways at the same time. Those that lose attach to the winner's.
func TestRace(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 3)
	const names, clients = 4, 6
	tokens := make([][]string, names)
	var racing sync.WaitGroup
	for name := range names {
		tokens[name] = make([]string, clients)
		for i := range clients {
			racing.Go(func() {
				token, _, err := f.token(f.as("alice", i%2), shell(fmt.Sprint("name", name)))
				for errors.Is(err, wsep.ErrDisconnected) && f.ctx.Err() == nil { // A busy machine may take long for a handshake.
					token, _, err = f.token(f.as("alice", i%2), shell(fmt.Sprint("name", name)))
				}
				if err != nil {
					t.Errorf("name %d: %v", name, err)
				}
				tokens[name][i] = token
			})
		}
	}
	racing.Wait()
	distinct := map[string]bool{}
	for _, same := range tokens {
		for _, token := range same {
			require.Equal(t, same[0], token)
		}
		distinct[same[0]] = true
	}
	require.Len(t, distinct, names)
}

// TestFailedStart starts what does not run. Its name is free after that.
func TestFailedStart(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	_, err := f.as("alice", 0).Start(f.ctx, wsep.Command{ID: "main", Keep: time.Hour, Command: "/nonexistent"})
	require.ErrorIs(t, err, exec.ErrNotFound)
	_, err = f.memory.Find(f.ctx, "alice", "main")
	require.ErrorIs(t, err, fs.ErrNotExist)
	f.requireToken(f.as("alice", 1), shell("main"), wsep.SessionCreated)

	out, err := wsep.Output(f.ctx, f.as("alice", 0), wsep.Command{Command: "echo", Args: []string{"hello"}})
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(out))
	_, err = wsep.Output(f.ctx, f.as("alice", 0), wsep.Command{Command: "/nonexistent"})
	require.ErrorIs(t, err, exec.ErrNotFound)
}

// TestIDsRefused asks for sessions that nobody may have.
func TestIDsRefused(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	node := f.node(f.claim("alice", "main"))
	name, incarnation := node.Record.Name, node.Record.Incarnation
	for what, tc := range map[string]struct {
		id   string
		want error
	}{
		"foreign":     {fleet.NewKeyRing().New(name, incarnation, "alice").String(), fs.ErrPermission},
		"other owner": {f.keys.New(name, incarnation, "bob").String(), fs.ErrPermission},
		"broken":      {"w1.x", fs.ErrPermission},
		"old":         {f.keys.New(name, "other", "alice").String(), fs.ErrNotExist},
		"never used":  {f.keys.New(name, incarnation, "alice").String(), fs.ErrNotExist},
	} {
		for _, c := range []wsep.Command{{ID: tc.id}, shell(tc.id)} {
			_, _, err := f.token(f.as("alice", 0), c)
			require.ErrorIs(t, err, tc.want, what)
		}
	}
	_, _, err := f.token(f.gateways[0].Execer, wsep.Command{ID: "5:alice:" + f.keys.New("n9", incarnation, "alice").String()})
	require.ErrorIs(t, err, fleet.ErrUnreachable)
}

// TestRestart restarts a node's program. Its sessions are where they were.
func TestRestart(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	token := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	claim := f.claim("alice", "main")
	node := f.node(claim)
	node.stop()
	for _, id := range []string{"main", claim.ID} {
		_, _, err := f.token(f.gateways[0].Execer, shell("5:alice:"+id))
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.NotErrorIs(t, err, fs.ErrNotExist)
		_, _, err = f.token(f.as("alice", 1), shell(id))
		require.ErrorIs(t, err, wsep.ErrDisconnected)
	}
	node.start(node.Record.Name)
	f.awaitNodes(2)
	for _, id := range []string{"main", claim.ID} {
		require.Equal(t, token, f.requireToken(f.as("alice", 0), shell(id), wsep.SessionFound))
	}
	require.Equal(t, claim, f.claim("alice", "main"))
}

// TestLost has a name given away while its node is lost. When the node comes back, its session has its ID, and not the name.
func TestLost(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	first := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	old := f.claim("alice", "main")
	node := f.node(old)
	node.stop()
	f.awaitNodes(1)
	soon := f.gateways[0].Execer
	soon.LostAfter = time.Nanosecond
	second := f.requireToken(soon, shell("5:alice:main"), wsep.SessionCreated)
	require.NotEqual(t, first, second)
	node.start(node.Record.Name)
	f.awaitNodes(2)
	for i := range f.gateways {
		require.Equal(t, second, f.requireToken(f.as("alice", i), shell("main"), wsep.SessionFound))
		require.Equal(t, first, f.requireToken(f.as("alice", i), shell(old.ID), wsep.SessionFound))
	}
}

// TestRegistryLost has a registry that forgets everything. The nodes claim their names again.
func TestRegistryLost(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	token := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	claim := f.claim("alice", "main")
	node := f.nodes[0]
	node.stop()
	require.NoError(t, f.memory.Forget(f.ctx, "alice", "main"))
	node.start("n1")
	f.awaitNodes(1)
	require.Eventually(t, func() bool {
		c, err := f.memory.Find(f.ctx, "alice", "main")
		return err == nil && c.ID == claim.ID
	}, patience, 10*time.Millisecond)
	require.Equal(t, token, f.requireToken(f.as("alice", 1), shell("main"), wsep.SessionFound))
}

// TestRegistryDown has a registry that can't be reached.
func TestRegistryDown(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	token := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	require.Equal(t, token, f.requireToken(f.as("alice", 1), shell("main"), wsep.SessionFound))
	id := f.claim("alice", "main").ID
	f.registry.down.Store(true)
	for i, g := range f.gateways {
		require.Equal(t, token, f.requireToken(f.as("alice", i), shell("main"), wsep.SessionFound))
		require.Equal(t, token, f.requireToken(f.as("alice", i), wsep.Command{ID: id}, wsep.SessionFound))
		out, err := wsep.Output(f.ctx, f.as("alice", i), wsep.Command{Command: "echo", Args: []string{"hello"}})
		require.NoError(t, err)
		require.Equal(t, "hello\n", string(out))
		for _, c := range []wsep.Command{shell("5:alice:other"), {ID: "5:alice:other"}} {
			_, _, err = f.token(g.Execer, c)
			require.ErrorIs(t, err, fleet.ErrNoRegistry)
			require.NotErrorIs(t, err, fs.ErrNotExist)
		}
	}
	f.registry.down.Store(false)
	f.requireToken(f.as("alice", 0), shell("other"), wsep.SessionCreated)
}

// TestDrain drains a node. Nothing is placed there, and clients attach to what it has.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	token := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	node := f.node(f.claim("alice", "main"))
	require.NoError(t, node.Drain(f.ctx))
	for i := range 6 {
		name := fmt.Sprint("after", i)
		f.requireToken(f.as("alice", i%2), shell(name), wsep.SessionCreated)
		require.NotEqual(t, node.Record.Name, f.claim("alice", name).Node())
	}
	require.Equal(t, token, f.requireToken(f.as("alice", 1), shell("main"), wsep.SessionFound))
	require.Equal(t, 1, node.Sessions())
}

// TestTrust has peers with the wrong certificates.
func TestTrust(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	id := f.claim("alice", "main").ID
	with := func(issue func() (tls.Certificate, error)) fleet.Execer {
		cert, err := issue()
		require.NoError(t, err)
		e := f.gateways[0].Execer
		e.TLS = fleet.GatewayTLS(cert, f.authority.Pool())
		return e
	}
	other, err := fleet.NewAuthority()
	require.NoError(t, err)
	for what, e := range map[string]fleet.Execer{
		"a node is no gateway": with(func() (tls.Certificate, error) { return f.authority.Issue("n1", fleet.RoleNode) }),
		"another fleet":        with(func() (tls.Certificate, error) { return other.Issue("g1", fleet.RoleGateway) }),
		"no certificate":       with(func() (tls.Certificate, error) { return tls.Certificate{}, nil }),
	} {
		_, err := e.Start(f.ctx, wsep.Command{ID: "5:alice:" + id})
		require.Error(t, err, what)
	}

	// A recycled address: another node listens at the address of the record.
	stale := fleet.NewMemory()
	for i, n := range f.nodes {
		record := n.Record
		record.Address, record.State = f.nodes[1-i].address, fleet.NodeReady
		_, err := stale.Join(f.ctx, record)
		require.NoError(t, err)
	}
	e := f.gateways[0].Execer
	e.View = fleet.NewView(stale)
	ctx, cancel := context.WithCancel(f.ctx)
	var running sync.WaitGroup
	running.Go(func() { e.View.Run(ctx) })
	defer running.Wait()
	defer cancel()
	_, err = e.Start(f.ctx, wsep.Command{ID: "5:alice:" + id})
	require.ErrorIs(t, err, fleet.ErrUnreachable)
	_, err = e.Start(f.ctx, wsep.Command{Command: "true"})
	require.ErrorIs(t, err, fleet.ErrUnreachable)
}

// TestResume cuts the connection of a client, which comes back through the other gateway.
func TestResume(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	f.comeAndGo(f.gateways[0].address, f.gateways[1].address)
}

// comeAndGo cuts the connection of a client again and again. Each time it comes back through another gateway.
func (f *network) comeAndGo(gateways ...string) {
	t := f.t
	var mu sync.Mutex
	var conns []net.Conn
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", gateways[len(conns)%len(gateways)])
			if err == nil {
				conns = append(conns, conn)
			}
			return conn, err
		},
	}}
	d := f.as("alice", 0)
	d.HTTPClient = client
	p, err := d.Start(f.ctx, wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	out := bufio.NewReader(p.Stdout())
	for i := range 6 {
		sent := fmt.Sprintf("line %d\n", i)
		_, err := p.Stdin().Write([]byte(sent))
		require.NoError(t, err)
		got, err := out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, sent, got)
		mu.Lock()
		_ = conns[len(conns)-1].Close()
		mu.Unlock()
	}
	require.NoError(t, p.Stdin().Close())
	require.NoError(t, p.Wait())
	mu.Lock()
	defer mu.Unlock()
	require.GreaterOrEqual(t, len(conns), 6)
}

// TestIncarnation makes incarnations of directories.
func TestIncarnation(t *testing.T) {
	t.Parallel()
	dir, copied := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	first, err := fleet.Incarnation(dir)
	require.NoError(t, err)
	again, err := fleet.Incarnation(dir)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	clone, err := fleet.Incarnation(copied)
	require.NoError(t, err)
	require.NotEqual(t, first, clone)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	require.False(t, strings.Contains(first, "."))
	var racing sync.WaitGroup
	raced := filepath.Join(t.TempDir(), "c")
	got := make([]string, 8)
	for i := range got {
		racing.Go(func() { got[i], _ = fleet.Incarnation(raced) })
	}
	racing.Wait()
	for _, incarnation := range got {
		require.NotEmpty(t, incarnation)
		require.Equal(t, got[0], incarnation)
	}
}
