// Package clustertest runs members of etcd for tests, each in a process of its own.
package clustertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/fleet/etcd"
)

// patience is how long a member may take to start.
const patience = 30 * time.Second

// Main makes this process a member if it was started as one. Then it does not return. A TestMain calls it first.
func Main() {
	name := os.Getenv("WSEP_TEST_MEMBER")
	if name == "" {
		return
	}
	if err := serveMember(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
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

// Cluster is members of one etcd.
type Cluster struct {
	Members []*Member

	mu   sync.Mutex // one fault at a time; guards next
	next int
}

// Member is a member in a process of its own. Its data stay when it is killed.
type Member struct {
	name, dir, client string
	peers             string
	cmd               *exec.Cmd
	stdin             io.Closer
}

// Address returns an address on this machine that nobody else uses: an IP address of its own. A free port of 127.0.0.1 could be taken
// by any connection, before a member listens there again.
func Address() string {
	return fmt.Sprintf("http://127.%d.%d.%d:2380", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
}

// New starts a cluster. The test's end kills it.
func New(t *testing.T, members int) *Cluster {
	c := &Cluster{}
	var peers []string
	for i := range members {
		name := fmt.Sprint("m", i+1)
		peers = append(peers, name+"="+Address())
		c.Members = append(c.Members, &Member{name: name, dir: t.TempDir(), client: Address()})
	}
	for _, m := range c.Members {
		m.peers = strings.Join(peers, ",")
	}
	t.Cleanup(c.Kill)
	c.Start(t)
	return c
}

// Start starts all members, or starts them again, and waits until they serve.
func (c *Cluster) Start(t *testing.T) {
	var starting sync.WaitGroup
	for _, m := range c.Members {
		starting.Go(func() { m.Start(t) })
	}
	starting.Wait()
	require.False(t, t.Failed())
}

// Kill kills all members.
func (c *Cluster) Kill() {
	for _, m := range c.Members {
		m.Kill()
	}
}

// Endpoints returns the addresses for clients.
func (c *Cluster) Endpoints() (all []string) {
	for _, m := range c.Members {
		all = append(all, m.client)
	}
	return all
}

// Disturb kills a member, another one each time, and starts it again.
func (c *Cluster) Disturb(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.Members[c.next%len(c.Members)]
	c.next++
	m.Kill()
	m.Start(t)
}

// Start starts the member, and waits until it serves. It fails the test if the member does not.
func (m *Member) Start(t *testing.T) {
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

// Kill is kill -9.
func (m *Member) Kill() {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
	}
}
