package fleet_test

import (
	"crypto/tls"
	"io"
	"io/fs"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/internal/timetest"
)

// inOrder is a Placer that takes the first node, by name. It remembers which it has taken.
type inOrder struct {
	mu    sync.Mutex // guards tried
	tried []string
}

func (p *inOrder) Place(_ string, _ wsep.Command, candidates []fleet.Candidate) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	node := candidates[0].Name
	p.tried = append(p.tried, node)
	return node, true
}

// take returns the nodes that were taken since the last time.
func (p *inOrder) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.tried = nil }()
	return p.tried
}

// TestThreeTries has nodes that drain, and one that nobody can connect to. The gateway does not know that. A start is tried at three
// nodes, and not at a fourth one.
func TestThreeTries(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 5)
	placer := &inOrder{}
	e := f.gateways[0].Execer
	e.Placer = placer
	f.registry.stale.Store(true)
	require.ErrorIs(t, f.nodes[0].Drain(f.ctx), fleet.ErrNoRegistry)
	f.nodes[1].vanish()

	_, err := wsep.Output(f.ctx, e, wsep.Command{Command: "true"})
	require.NoError(t, err)
	require.Equal(t, []string{"n1", "n2", "n3"}, placer.take())
	f.requireToken(e, shell("5:alice:main"), wsep.SessionCreated)
	require.Equal(t, []string{"n1", "n2", "n3"}, placer.take())
	require.Equal(t, "n3", f.claim("alice", "main").Node())

	require.ErrorIs(t, f.nodes[2].Drain(f.ctx), fleet.ErrNoRegistry)
	for _, c := range []wsep.Command{{Command: "true"}, shell("5:alice:other")} {
		_, err := e.Start(f.ctx, c)
		require.ErrorIs(t, err, wsep.ErrBusy)
		require.NotErrorIs(t, err, fs.ErrNotExist)
		require.Equal(t, []string{"n1", "n2", "n3"}, placer.take())
	}
}

// vanish ends the node's program. Its record stays.
func (n *runningNode) vanish() {
	n.stop()
	record := n.Record
	record.State = fleet.NodeReady
	_, err := n.net.memory.Join(n.net.ctx, record)
	require.NoError(n.net.t, err)
	n.net.awaitNodes(len(n.net.nodes))
}

// deafen ends the node's program. Its record stays, and at its address connections are taken, and nothing is said.
func (n *runningNode) deafen() {
	n.vanish()
	listener, err := net.Listen("tcp", n.address)
	require.NoError(n.net.t, err)
	n.net.t.Cleanup(func() { _ = listener.Close() })
}

// TestNodeThatStops starts at a node that is stopped after it has shown its certificate. The start goes on at another node.
func TestNodeThatStops(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	n := f.nodes[0]
	n.vanish()
	cert, err := f.authority.Issue("n1", fleet.RoleNode)
	require.NoError(t, err)
	listener, err := tls.Listen("tcp", n.address, fleet.NodeTLS(cert, f.authority.Pool()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	shaken := make(chan error, 1)
	go func() { // Ends with the connection, which the gateway closes.
		conn, err := listener.Accept()
		if err == nil {
			defer conn.Close()
			shaken <- conn.(*tls.Conn).HandshakeContext(f.ctx)
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	placer := &inOrder{}
	e := f.gateways[0].Execer
	e.Placer = placer
	f.requireToken(e, shell("5:alice:main"), wsep.SessionCreated)
	require.NoError(t, <-shaken)
	require.Equal(t, []string{"n1", "n2"}, placer.take())
}

// TestSilentNode lists sessions while a node says nothing. The answer comes after a second, and says which node that is.
func TestSilentNode(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 3)
	f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	with := f.node(f.claim("alice", "main"))
	other := f.nodes[(slices.Index(f.nodes, with)+1)%3]
	other.deafen()
	list := func() (infos []wsep.SessionInfo, silent []string) {
		timetest.Within(t, 1500*time.Millisecond, func() time.Duration {
			began := time.Now()
			var err error
			infos, silent, err = f.gateways[0].List(f.ctx)
			require.NoError(t, err)
			return time.Since(began)
		})
		return infos, silent
	}
	require.Eventually(t, func() bool { // A busy machine may keep the others from their answer.
		infos, silent := list()
		return len(infos) == 1 && slices.Equal(silent, []string{other.Record.Name})
	}, patience, 10*time.Millisecond)
}

// TestResumeAtLostNode has a client come back to a node that has lost its record.
func TestResumeAtLostNode(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 2)
	e := f.gateways[0].Execer
	peers := func() int {
		all, err := e.Peers(f.ctx)
		require.NoError(t, err)
		return len(all)
	}
	require.Equal(t, 2, peers())
	f.registry.down.Store(true) // So the node can't join again.
	f.memory.Expire("n1")
	f.awaitNodes(1)
	require.Equal(t, 2, peers())
	e.LostAfter = time.Nanosecond
	require.Equal(t, 1, peers())
}
