package fleet_test

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
)

// countedListener counts its connections.
type countedListener struct {
	net.Listener
	made, open atomic.Int64
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.made.Add(1)
	l.open.Add(1)
	return &countedConn{conn, sync.OnceFunc(func() { l.open.Add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// keepLink runs commands until one of them has gone over a connection to the node that was kept. The fleet has no other node.
func (n *runningNode) keepLink(e wsep.Execer) {
	n.net.t.Helper()
	require.Eventually(n.net.t, func() bool {
		before := n.listener.made.Load()
		out, err := wsep.Output(n.net.ctx, e, wsep.Command{Command: "echo", Args: []string{"hello"}})
		require.NoError(n.net.t, err)
		require.Equal(n.net.t, "hello\n", string(out))
		return n.listener.made.Load() == before
	}, patience, time.Millisecond)
}

// awaitFewer waits until a connection to the node is closed. It gives up long before connections are too old to be kept.
func (n *runningNode) awaitFewer(than int64) bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if n.listener.open.Load() < than {
			return true
		}
	}
	return false
}

// TestLinksAreKept starts commands one after the other, through a gateway and without one.
func TestLinksAreKept(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	f.nodes[0].keepLink(f.as("alice", 0))
	f.nodes[0].keepLink(f.gateways[1].Execer)
}

// TestLinksEnd has connections that are kept to a node whose record changes, or goes, or whose gateway ends.
func TestLinksEnd(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	node := f.nodes[0]
	view, end := fleet.NewView(f.open()), func() {}
	e := f.gateways[0].Execer
	e.View = view
	run := func() {
		ctx, cancel := context.WithCancel(f.ctx)
		var running sync.WaitGroup
		running.Go(func() { view.Run(ctx) })
		end = func() {
			cancel()
			running.Wait()
		}
	}
	run()
	defer func() { end() }()
	for what, change := range map[string]func(){
		"another address": func() {
			record := node.Record
			record.Address, record.State = "127.0.0.1:1", fleet.NodeReady
			_, err := f.memory.Join(f.ctx, record)
			require.NoError(t, err)
		},
		"no record": func() { f.memory.Expire("n1") },
		"no gateway": func() {
			end()
			view = fleet.NewView(f.open())
			run()
		},
	} {
		// A connection that is put back while its link goes is kept on. So several are tried.
		require.Eventually(t, func() bool {
			e.View = view
			awaitAddress(t, view, node)
			node.keepLink(e)
			open := node.listener.open.Load()
			change()
			return node.awaitFewer(open)
		}, patience, time.Millisecond, what)
	}
}

// awaitAddress waits until a View knows where the node is. The node joins again whenever its record is lost.
func awaitAddress(t *testing.T, view *fleet.View, node *runningNode) {
	t.Helper()
	require.Eventually(t, func() bool {
		known := view.Nodes()
		return len(known) == 1 && known[0].Address == node.address
	}, patience, time.Millisecond)
}

// TestLinksAreOnesOwn: an Execer with another certificate does not get the connections of one that the node trusts.
func TestLinksAreOnesOwn(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	e := f.gateways[0].Execer
	for range 3 {
		f.nodes[0].keepLink(e)
		foreign := e
		foreign.TLS = fleet.GatewayTLS(tls.Certificate{}, f.authority.Pool())
		_, err := foreign.Start(f.ctx, wsep.Command{Command: "true"})
		require.Error(t, err)
	}
}
