package etcd_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/etcd"
	"cdr.dev/wsep/fleet/internal/clustertest"
	"cdr.dev/wsep/fleet/registrytest"
	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/timetest"
)

const patience = 30 * time.Second

// TestMain makes this program a member of etcd, or runs the tests.
func TestMain(m *testing.M) {
	clustertest.Main()
	leaktest.Main(m)
}

// open returns a registry that the test's end closes. A node of it does not expire while a busy machine keeps it from its renewal.
func open(t *testing.T, endpoints []string, prefix string) *etcd.Registry {
	return openFor(t, endpoints, prefix, time.Minute)
}

func openFor(t *testing.T, endpoints []string, prefix string, ttl time.Duration) *etcd.Registry {
	r, err := etcd.Open(etcd.Config{Endpoints: endpoints, Prefix: prefix, TTL: ttl})
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// TestRegistry runs the suite on three members, one of which is killed while names are raced for.
func TestRegistry(t *testing.T) {
	c := clustertest.New(t, 3)
	registrytest.Run(t, func(t *testing.T) registrytest.Setup {
		prefix := url.PathEscape(t.Name()) + "/"
		return registrytest.Setup{
			Open: func() fleet.Registry { return open(t, c.Endpoints(), prefix) },
			Kill: func(r fleet.Registry, node string) {
				expire(t, c.Endpoints(), r.(*etcd.Registry), prefix+"nodes/"+node)
			},
			Disturb: func() { c.Disturb(t) },
		}
	})
}

// expire closes a node's registry, and ends the lease of its record before its time.
func expire(t *testing.T, endpoints []string, r *etcd.Registry, key string) {
	require.NoError(t, r.Close())
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints})
	require.NoError(t, err)
	defer client.Close()
	found, err := client.Get(t.Context(), key)
	require.NoError(t, err)
	require.Len(t, found.Kvs, 1)
	require.Eventually(t, func() bool { // A member that is being killed may not answer.
		_, err = client.Revoke(t.Context(), clientv3.LeaseID(found.Kvs[0].Lease))
		return err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound)
	}, patience, 100*time.Millisecond)
}

// TestExpiry is a node that is not renewed, and one that is for longer than its record lives.
func TestExpiry(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	config := etcd.EngineConfig{Name: "m1", Dir: t.TempDir(), Peers: map[string]string{"m1": clustertest.Address()}, Client: clustertest.Address()}
	engine, err := etcd.Start(t.Context(), config)
	require.NoError(t, err)
	defer engine.Close()
	endpoints := []string{config.Client}
	killed, kept := openFor(t, endpoints, "", ttl), openFor(t, endpoints, "", 2*ttl)
	_, err = killed.Join(t.Context(), fleet.NodeRecord{Name: "killed", Incarnation: "1"})
	require.NoError(t, err)
	node, err := kept.Join(t.Context(), fleet.NodeRecord{Name: "kept", Incarnation: "1"})
	require.NoError(t, err)
	joined := node.Renewed()
	began := time.Now()
	require.NoError(t, killed.Close())
	require.Eventually(t, func() bool {
		nodes, err := kept.Nodes(t.Context())
		return err == nil && len(nodes) == 1
	}, patience, 100*time.Millisecond)
	require.Greater(t, time.Since(began), ttl/2)
	require.Eventually(t, func() bool { return node.Renewed().Sub(joined) > 2*ttl }, patience, 100*time.Millisecond)
	select {
	case <-node.Lost():
		t.Fatal("a node that is renewed is not lost")
	default:
	}
}

// TestEngineDown kills all members. What needs the registry fails within a second, with an error of its own. When the members are
// back, nothing is lost.
func TestEngineDown(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	r := open(t, c.Endpoints(), "")
	ring := fleet.NewKeyRing()
	node, err := r.Join(t.Context(), fleet.NodeRecord{Name: "a", Incarnation: "1"})
	require.NoError(t, err)
	kept, err := node.Claim(t.Context(), fleet.ClaimRequest{Owner: "alice", Name: "main", ID: ring.New("a", "1", "alice"), Slots: 3})
	require.NoError(t, err)

	c.Kill()
	timetest.Within(t, time.Second, func() time.Duration {
		began := time.Now()
		_, err = node.Claim(t.Context(), fleet.ClaimRequest{Owner: "alice", Name: "other", ID: ring.New("a", "1", "alice")})
		require.ErrorIs(t, err, fleet.ErrNoRegistry)
		return time.Since(began)
	})
	for what, err := range map[string]error{
		"find":    second(r.Find(t.Context(), "alice", "main")),
		"nodes":   second(r.Nodes(t.Context())),
		"claims":  second(r.Claims(t.Context(), "a")),
		"forget":  r.Forget(t.Context(), "alice", "main"),
		"update":  node.Update(t.Context(), fleet.NodeRecord{}),
		"release": node.Release(t.Context(), kept),
		"watch":   r.Watch(t.Context(), func(fleet.Change) {}),
	} {
		require.ErrorIs(t, err, fleet.ErrNoRegistry, what)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, second(r.Find(ctx, "alice", "main")), context.DeadlineExceeded)

	c.Start(t)
	found, err := open(t, c.Endpoints(), "").Find(t.Context(), "alice", "main")
	require.NoError(t, err)
	require.Equal(t, kept, found)
}

func second[T any](_ T, err error) error { return err }

// TestOneMember is a fleet of one member of etcd, in this process, that starts again.
func TestOneMember(t *testing.T) {
	t.Parallel()
	config := etcd.EngineConfig{Name: "m1", Dir: t.TempDir(), Peers: map[string]string{"m1": clustertest.Address()}, Client: clustertest.Address()}
	for try := range 2 {
		engine, err := etcd.Start(t.Context(), config)
		require.NoError(t, err)
		r, err := etcd.Open(etcd.Config{Endpoints: []string{config.Client}})
		require.NoError(t, err)
		node, err := r.Join(t.Context(), fleet.NodeRecord{Name: "a", Incarnation: "1"})
		require.NoError(t, err)
		_, err = node.Claim(t.Context(), fleet.ClaimRequest{Owner: "alice", Name: "main", ID: fleet.NewKeyRing().New("a", "1", "alice")})
		require.Equal(t, try == 1, errors.Is(err, fleet.ErrNameTaken), err)
		require.NoError(t, node.Leave(t.Context()))
		require.NoError(t, r.Close())
		engine.Close()
	}
}

// TestEngineRefused has configurations that can't work.
func TestEngineRefused(t *testing.T) {
	for _, config := range []etcd.EngineConfig{
		{},
		{Name: "m1", Peers: map[string]string{"m1": "nowhere"}, Client: "http://127.0.0.1:1"},
		{Name: "m1", Peers: map[string]string{"m1": "http://127.0.0.1:1"}},
	} {
		_, err := etcd.Start(t.Context(), config)
		require.Error(t, err)
	}
	_, err := etcd.Open(etcd.Config{})
	require.Error(t, err)
}
