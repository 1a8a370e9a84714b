package etcd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/etcd"
	"cdr.dev/wsep/fleet/registrytest"
	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/timetest"
)

const patience = 30 * time.Second

// TestMain makes this program a member of etcd, or runs the tests.
func TestMain(m *testing.M) {
	if name := os.Getenv("WSEP_TEST_MEMBER"); name != "" {
		if err := serveMember(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}

// serveMember is a member until its stdin ends.
func serveMember(name string) error {
	peers := map[string]string{}
	for member := range strings.SplitSeq(os.Getenv("WSEP_TEST_PEERS"), ",") {
		name, address, _ := strings.Cut(member, "=")
		peers[name] = address
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	engine, err := etcd.Start(ctx, etcd.EngineConfig{
		Name: name, Dir: os.Getenv("WSEP_TEST_DIR"), Peers: peers, Client: os.Getenv("WSEP_TEST_CLIENT"),
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	engine.Close()
	return nil
}

// cluster is three members, each in a process of its own.
type cluster struct {
	t       *testing.T
	members []*member

	mu   sync.Mutex // one fault at a time; guards next
	next int
}

type member struct {
	name, dir, client string
	peers             string
	cmd               *exec.Cmd
	stdin             interface{ Close() error }
}

// newAddress returns an address on this machine that nobody else uses: an IP address of its own. A free port of 127.0.0.1 could be
// taken by any connection, before a member listens there again.
func newAddress() string {
	return fmt.Sprintf("http://127.%d.%d.%d:2380", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t}
	var peers []string
	for i := range 3 {
		name := fmt.Sprint("m", i+1)
		peers = append(peers, name+"="+newAddress())
		c.members = append(c.members, &member{name: name, dir: t.TempDir(), client: newAddress()})
	}
	var starting sync.WaitGroup
	for _, m := range c.members {
		m.peers = strings.Join(peers, ",")
		starting.Go(func() { m.start(t) })
	}
	starting.Wait()
	require.False(t, t.Failed())
	t.Cleanup(func() {
		for _, m := range c.members {
			m.kill()
		}
	})
	return c
}

// start starts a member and waits until it serves.
func (m *member) start(t *testing.T) {
	m.cmd = exec.Command("/proc/self/exe")
	m.cmd.Env = append(os.Environ(),
		"WSEP_TEST_MEMBER="+m.name, "WSEP_TEST_DIR="+m.dir, "WSEP_TEST_PEERS="+m.peers, "WSEP_TEST_CLIENT="+m.client)
	m.cmd.Stderr = os.Stderr
	stdout, err := m.cmd.StdoutPipe()
	if err == nil {
		m.stdin, err = m.cmd.StdinPipe()
	}
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Errorf("member %s does not start: %v", m.name, err)
	}
}

func (m *member) kill() {
	if m.cmd.Process != nil {
		_ = m.cmd.Process.Signal(syscall.SIGKILL)
		_ = m.cmd.Wait()
	}
}

// disturb kills a member, another one each time, and starts it again.
func (c *cluster) disturb() {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[c.next%len(c.members)]
	c.next++
	m.kill()
	m.start(c.t)
}

func (c *cluster) endpoints() (all []string) {
	for _, m := range c.members {
		all = append(all, m.client)
	}
	return all
}

// open returns a registry that the test's end closes. A node of it does not expire while a busy machine keeps it from its renewal.
func (c *cluster) open(t *testing.T, prefix string) *etcd.Registry {
	return c.openFor(t, prefix, time.Minute)
}

func (c *cluster) openFor(t *testing.T, prefix string, ttl time.Duration) *etcd.Registry {
	r, err := etcd.Open(etcd.Config{Endpoints: c.endpoints(), Prefix: prefix, TTL: ttl})
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// TestRegistry runs the suite on three members, one of which is killed while names are raced for.
func TestRegistry(t *testing.T) {
	c := newCluster(t)
	registrytest.Run(t, func(t *testing.T) registrytest.Setup {
		prefix := url.PathEscape(t.Name()) + "/"
		return registrytest.Setup{
			Open:    func() fleet.Registry { return c.open(t, prefix) },
			Kill:    func(r fleet.Registry, node string) { c.expire(t, r.(*etcd.Registry), prefix+"nodes/"+node) },
			Disturb: c.disturb,
		}
	})
}

// expire closes a node's registry, and ends the lease of its record before its time.
func (c *cluster) expire(t *testing.T, r *etcd.Registry, key string) {
	require.NoError(t, r.Close())
	client, err := clientv3.New(clientv3.Config{Endpoints: c.endpoints()})
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
	config := etcd.EngineConfig{Name: "m1", Dir: t.TempDir(), Peers: map[string]string{"m1": newAddress()}, Client: newAddress()}
	engine, err := etcd.Start(t.Context(), config)
	require.NoError(t, err)
	defer engine.Close()
	c := &cluster{t: t, members: []*member{{client: config.Client}}}
	killed, kept := c.openFor(t, "", ttl), c.openFor(t, "", 2*ttl)
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
	c := newCluster(t)
	r := c.open(t, "")
	ring := fleet.NewKeyRing()
	node, err := r.Join(t.Context(), fleet.NodeRecord{Name: "a", Incarnation: "1"})
	require.NoError(t, err)
	kept, err := node.Claim(t.Context(), fleet.ClaimRequest{Owner: "alice", Name: "main", ID: ring.New("a", "1", "alice"), Slots: 3})
	require.NoError(t, err)

	for _, m := range c.members {
		m.kill()
	}
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

	var starting sync.WaitGroup
	for _, m := range c.members {
		starting.Go(func() { m.start(t) })
	}
	starting.Wait()
	require.False(t, t.Failed())
	found, err := c.open(t, "").Find(t.Context(), "alice", "main")
	require.NoError(t, err)
	require.Equal(t, kept, found)
}

func second[T any](_ T, err error) error { return err }

// TestOneMember is a fleet of one member of etcd, in this process, that starts again.
func TestOneMember(t *testing.T) {
	t.Parallel()
	config := etcd.EngineConfig{Name: "m1", Dir: t.TempDir(), Peers: map[string]string{"m1": newAddress()}, Client: newAddress()}
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
