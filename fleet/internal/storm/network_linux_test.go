package storm_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// network is a network of a test's own: a switch, and machines with an IP address each. It is in network namespaces without a name, so
// it is seen nowhere else, and it is gone when the test's processes are, however they end.
type network struct {
	hub      *namespace // the switch. What runs here reaches all machines at any time
	machines int
}

const (
	port = "eth0" // is each machine's interface.
	// nobody is a MAC address of no machine. What is sent there gets lost, and the sender does not learn of it.
	nobody = "02:00:00:00:00:00"
)

// newNetwork returns a network without machines. The test is skipped where there can be none.
func newNetwork(t *testing.T) *network {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip, of iproute2, is not installed")
	}
	hub, err := newNamespace(t)
	if errors.Is(err, unix.EPERM) {
		t.Skipf("network namespaces are not permitted: %v", err)
	}
	require.NoError(t, err)
	hub.ip("link add hub type bridge", "address add 10.0.0.254/24 dev hub", "link set hub up", "link set lo up")
	return &network{hub: hub}
}

// connect returns the IP address of a new machine, and where it runs.
func (n *network) connect() (ip string, at *namespace) {
	at, err := newNamespace(n.hub.t)
	require.NoError(n.hub.t, err)
	n.machines++
	ip = fmt.Sprintf("10.0.0.%d", n.machines)
	wire := fmt.Sprintf("wire%d", n.machines)
	at.ip(
		"link add "+port+" type veth peer name "+wire+" netns "+n.hub.path(),
		"address add "+ip+"/24 dev "+port, "link set "+port+" up", "link set lo up",
	)
	n.hub.ip("link set "+wire+" master hub", "link set "+wire+" up")
	return ip, at
}

// pairs are pairs of machines.
type pairs [][2]*machine

// between returns the pairs of one machine of each group.
func between(as, bs []*machine) (all pairs) {
	for _, a := range as {
		for _, b := range bs {
			all = append(all, [2]*machine{a, b})
		}
	}
	return all
}

// part parts machines. Connections between them hang: nothing arrives, and nothing is refused.
func (p pairs) part() { p.set("neighbor replace %s lladdr " + nobody + " nud permanent dev " + port) }

// heal undoes part.
func (p pairs) heal() { p.set("neighbor delete %s dev " + port) }

// set tells each machine something about the other one.
func (p pairs) set(command string) {
	for _, pair := range p {
		pair[0].at.ip(fmt.Sprintf(command, pair[1].ip))
		pair[1].at.ip(fmt.Sprintf(command, pair[0].ip))
	}
}

// have reports whether a pair is among them.
func (p pairs) have(a, b string) bool {
	return slices.ContainsFunc(p, func(pair [2]*machine) bool {
		return pair[0].name == a && pair[1].name == b || pair[0].name == b && pair[1].name == a
	})
}

// namespace is a network namespace. It is gone with its last process, once the test has ended. A nil namespace is the test's.
type namespace struct {
	t    *testing.T
	file *os.File // keeps it
}

func newNamespace(t *testing.T) (n *namespace, err error) {
	n = &namespace{t: t}
	aside(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			n.file, err = os.Open("/proc/thread-self/ns/net")
		}
	})
	if err == nil {
		t.Cleanup(func() { _ = n.file.Close() })
	}
	return n, err
}

// aside does something in a thread that ends with it.
func aside(do func()) {
	done := make(chan struct{})
	go func() { // Ends with what it does.
		defer close(done)
		runtime.LockOSThread() // The thread is never unlocked, so nobody else uses it.
		do()
	}()
	<-done
}

// path is where other processes find the namespace.
func (n *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// do does something in the namespace: processes that it starts, and sockets that it makes, stay there.
func (n *namespace) do(do func() error) (err error) {
	if n == nil {
		return do()
	}
	aside(func() {
		if err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err == nil {
			err = do()
		}
	})
	return err
}

// ip runs commands of ip(8).
func (n *namespace) ip(commands ...string) {
	n.t.Helper()
	c := exec.Command("ip", "-batch", "-")
	c.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	require.NoError(n.t, n.do(c.Start), commands)
	require.NoError(n.t, c.Wait(), "%s: %s", commands, &out)
}

// DialContext connects from the namespace.
func (n *namespace) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
