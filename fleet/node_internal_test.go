package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// fakeKeeper has sessions that are nothing but their IDs.
type fakeKeeper struct {
	Keeper

	mu       sync.Mutex // guards what follows
	sessions []string
	others   int           // commands without ID
	hold     chan struct{} // if set, starts wait until it is closed
}

func (k *fakeKeeper) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	k.mu.Lock()
	hold := k.hold
	k.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case c.ID == "":
		k.others++
	case c.Command != "":
		k.sessions = append(k.sessions, c.ID)
	}
	return nil, nil
}

func (k *fakeKeeper) Sessions(context.Context) (infos []wsep.SessionInfo, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range k.sessions {
		infos = append(infos, wsep.SessionInfo{ID: id})
	}
	return infos, nil
}

func (k *fakeKeeper) ProcessCount(context.Context) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sessions) + k.others, nil
}

// parted is a registry that a node can be cut off from. Such a node does not know whether its record is still there.
type parted struct {
	*Memory

	mu    sync.Mutex // guards since
	since time.Time  // when the node was cut off; zero if it is not
}

func (p *parted) cut(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = since
}

func (p *parted) Join(ctx context.Context, r NodeRecord) (Membership, error) {
	m, err := p.Memory.Join(ctx, r)
	return &partedMember{m, p}, err
}

type partedMember struct {
	Membership
	registry *parted
}

func (m *partedMember) Renewed() time.Time {
	m.registry.mu.Lock()
	defer m.registry.mu.Unlock()
	if since := m.registry.since; !since.IsZero() {
		return since
	}
	return m.Membership.Renewed()
}

// runFake runs a node until the test ends, in a bubble of synctest.
func runFake(t *testing.T, r Registry) (*Node, *fakeKeeper) {
	k := &fakeKeeper{}
	n := &Node{Record: NodeRecord{Name: "n1", Incarnation: "1"}, Keeper: k, Keys: NewKeyRing(), Registry: r, Metrics: NewMetrics()}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	synctest.Wait()
	return n, k
}

// TestNameGrace has a node that is cut off from the registry. It serves names for 50 seconds after its last renewal, and IDs for ever.
// Its names are not given away before they are refused.
func TestNameGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &parted{Memory: NewMemory()}
		n, _ := runFake(t, r)
		node := nodeExecer{n}
		_, err := node.Start(t.Context(), wsep.Command{ID: hop{Owner: "alice", Name: "main"}.String(), Command: "sh"})
		require.NoError(t, err)
		claim, err := r.Find(t.Context(), "alice", "main")
		require.NoError(t, err)
		byName := hop{Owner: "alice", Name: "main", ID: claim.ID, Revision: claim.Revision}
		attach := func(h hop) error {
			_, err := node.Start(t.Context(), wsep.Command{ID: h.String()})
			return err
		}
		for range 2 {
			require.NoError(t, attach(byName))
			r.cut(time.Now())
			time.Sleep(nameGrace)
			require.NoError(t, attach(byName))
			time.Sleep(time.Millisecond)
			err = attach(byName)
			require.ErrorIs(t, err, ErrNoRegistry)
			require.NotErrorIs(t, err, fs.ErrNotExist)
			require.NoError(t, attach(hop{Owner: "alice", ID: claim.ID}))
			r.cut(time.Time{})
		}
		require.Less(t, nameGrace, defaultLostAfter, "a name is given away a minute after the record has expired")
	})
}

// TestLoad counts sessions, and commands without ID.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewMemory()
		n, k := runFake(t, r)
		node := nodeExecer{n}
		requireLoad := func(sessions, commands int) {
			t.Helper()
			time.Sleep(2 * sweepPause)
			nodes, err := r.Nodes(t.Context())
			require.NoError(t, err)
			require.Equal(t, sessions+commands, nodes[0].Load)
			gotSessions, gotCommands, err := n.Remaining(t.Context())
			require.NoError(t, err)
			require.Equal(t, []int{sessions, commands}, []int{gotSessions, gotCommands})
		}
		requireLoad(0, 0)
		for range 3 {
			_, err := node.Start(t.Context(), wsep.Command{Command: "sh"})
			require.NoError(t, err)
		}
		requireLoad(0, 3)
		_, err := node.Start(t.Context(), wsep.Command{ID: hop{Owner: "alice", Name: "main"}.String(), Command: "sh"})
		require.NoError(t, err)
		requireLoad(1, 3)
		k.mu.Lock()
		k.others = 1
		k.mu.Unlock()
		requireLoad(1, 1)
		k.mu.Lock()
		k.others, k.sessions = 0, nil
		k.mu.Unlock()
		requireLoad(0, 0)
	})
}

// TestDrainWaits drains a node while commands start there. When Drain returns, they have started, and no more will.
func TestDrainWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, k := runFake(t, NewMemory())
		node := nodeExecer{n}
		k.hold = make(chan struct{})
		commands := []wsep.Command{{Command: "sh"}, {ID: hop{Owner: "alice", Name: "main"}.String(), Command: "sh"}}
		started := make(chan error, len(commands))
		for _, c := range commands {
			go func() { // Ends when the start does.
				_, err := node.Start(t.Context(), c)
				started <- err
			}()
		}
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- n.Drain(t.Context()) }() // Ends when the starts have.
		synctest.Wait()
		require.Empty(t, drained)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, n.Drain(short), context.DeadlineExceeded)
		for _, c := range commands {
			_, err := node.Start(t.Context(), c)
			require.ErrorIs(t, err, wsep.ErrBusy)
		}
		close(k.hold)
		require.NoError(t, errors.Join(<-started, <-started, <-drained))
		sessions, others, err := n.Remaining(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{1, 1}, []int{sessions, others})
	})
}

// TestRestartLimit attaches to a session whose node refuses connections: its program may be about to start again. A node that has left
// is waited for as long, and not any longer.
func TestRestartLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewMemory()
		member, err := r.Join(t.Context(), NodeRecord{Name: "n1", Incarnation: "1", Address: "127.0.0.1:1"})
		require.NoError(t, err)
		view := NewView(r)
		var running sync.WaitGroup
		running.Go(func() { view.Run(t.Context()) })
		t.Cleanup(running.Wait)
		keys := NewKeyRing()
		e := Execer{View: view, Keys: keys, TLS: &tls.Config{}}
		attach := func() time.Duration {
			began := time.Now()
			_, err := e.Start(t.Context(), wsep.Command{ID: keys.New("n1", "1", "").String()})
			require.ErrorIs(t, err, ErrUnreachable)
			return time.Since(began)
		}
		require.InDelta(t, restartLimit, attach(), float64(2*retryPause))
		require.NoError(t, member.Leave(t.Context()))
		synctest.Wait()
		require.InDelta(t, restartLimit, attach(), float64(2*retryPause))
		require.Zero(t, attach())
	})
}
