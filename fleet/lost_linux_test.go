package fleet_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// restartDuring restarts a node while a start is held there, and returns what the start has got. Gateways that connect meanwhile wait.
func (n *runningNode) restartDuring(hold chan struct{}, release func(), start func() error) error {
	done := make(chan error, 1)
	go func() { done <- start() }() // Ends when the start does, at the latest with the network's context.
	select {
	case <-hold:
	case err := <-done:
		require.NoError(n.net.t, err, "the start was to be held")
		require.Fail(n.net.t, "the start was to be held")
	}
	var err error
	n.inherited, err = n.listener.Listener.(*net.TCPListener).File()
	require.NoError(n.net.t, err)
	n.stop()
	release()
	n.start(n.Record.Name)
	return <-done
}

// reattach has alice attach to a session that has a token.
func (f *network) reattach(id, token string) error {
	got, origin, err := f.token(f.as("alice", 0), wsep.Command{ID: id})
	if err == nil && (got != token || origin != wsep.SessionFound) {
		err = errors.New("another session")
	}
	return err
}

// TestNodeEndsDuringAttach has a node whose program ends while a client attaches there. The gateway attaches again.
func TestNodeEndsDuringAttach(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	n := f.nodes[0]
	token := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	for _, id := range []string{"main", f.claim("alice", "main").ID} {
		n.stop()
		n.hold = make(chan struct{})
		n.start("n1")
		f.awaitNodes(1)
		err := n.restartDuring(n.hold, func() { n.hold = nil }, func() error { return f.reattach(id, token) })
		require.NoError(t, err, id)
	}
}

// TestNodeEndsDuringStart has a node whose program ends while a session starts there, before it has claimed the name, and after that.
// The gateway starts the session again. It is started once.
func TestNodeEndsDuringStart(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	n := f.nodes[0]
	start := func() error {
		_, origin, err := f.token(f.as("alice", 0), shell("main"))
		if err == nil && origin != wsep.SessionCreated {
			err = errors.New("the session was there")
		}
		return err
	}
	f.registry.holds.Store(true)
	require.NoError(t, n.restartDuring(f.registry.held, func() { f.registry.holds.Store(false) }, start))
	require.NoError(t, f.as("alice", 0).CloseSession(f.ctx, "main", ""))

	n.stop()
	n.hold = make(chan struct{})
	n.start("n1")
	f.awaitNodes(1)
	require.NoError(t, n.restartDuring(n.hold, func() { n.hold = nil }, start))
	infos, err := n.keeper.Sessions(f.ctx)
	require.NoError(t, err)
	require.Len(t, infos, 1)
}

// TestAttachWaitsForNode attaches to a session of a node that has left the fleet, and comes back.
func TestAttachWaitsForNode(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	n := f.nodes[0]
	token := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	for _, id := range []string{"main", f.claim("alice", "main").ID} {
		n.stop()
		f.awaitNodes(0)
		attached := make(chan error, 1)
		go func() { attached <- f.reattach(id, token) }() // Ends with the attach.
		select {
		case err := <-attached:
			require.Fail(t, "the attach did not wait", err)
		case <-time.After(500 * time.Millisecond):
		}
		n.start("n1")
		require.NoError(t, <-attached)
		f.awaitNodes(1)
	}
}

// TestStuckRelease starts a name whose session has ended, while its node can't release the name. The start waits for that.
func TestStuckRelease(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	short := wsep.Command{ID: "main", Keep: time.Millisecond, Command: "true"}
	f.registry.stuck.Store(true)
	for range 3 {
		_, err := wsep.Output(f.ctx, f.as("alice", 0), short)
		require.NoError(t, err)
		time.AfterFunc(time.Second, func() { f.registry.stuck.Store(false) })
	}
}
