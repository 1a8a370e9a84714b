package daemon

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/internal/keepertest"
	"cdr.dev/wsep/internal/cli/tool"
	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/streamtest"
	"cdr.dev/wsep/keeper"
)

const patience = time.Minute

// runAs is the variable that makes this program another one.
const runAs = "WSEP_TEST_PROGRAM"

// TestMain makes this program a keeper, wsepd or wsep, or runs the tests.
func TestMain(m *testing.M) {
	keeper.Main()
	switch os.Getenv(runAs) {
	case "wsepd":
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	case "wsepd that hangs":
		os.Exit(Main(os.Args[1:], os.Stdout, hanging{os.Stderr}))
	case "wsep":
		os.Exit(tool.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	leaktest.Main(m)
}

// machines are the programs of a fleet. Each has its directory below dir.
type machines struct {
	t     testing.TB
	dir   string
	host  string // an IP address of this machine that nobody else uses
	peers string
	all   []*machine
}

// machine is a wsepd.
type machine struct {
	*machines
	name string
	args []string
	as   string           // the program that this one is; "" is wsepd
	runs func() *exec.Cmd // what starts it, if that is not this program with args

	cmd    *exec.Cmd
	ended  chan struct{} // closed when the program has ended
	stderr *streamtest.Buffer
}

func newMachines(t testing.TB) *machines {
	dir, err := os.MkdirTemp("", "w") // A short path: there are sockets in it.
	require.NoError(t, err)
	m := &machines{t: t, dir: dir, host: fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))}
	t.Cleanup(func() {
		for _, one := range m.all {
			one.kill()
			keepertest.End(t, filepath.Join(one.dir(), "keeper"))
			if t.Failed() {
				t.Logf("%s said:\n%s", one.name, one.stderr)
			}
		}
		require.NoError(t, os.RemoveAll(dir))
	})
	return m
}

// newThree returns a fleet of three, whose nodes all gateways know.
func newThree(t *testing.T) *machines {
	m := newMachines(t)
	var peers []string
	for i := range 3 {
		peers = append(peers, fmt.Sprintf("n%d=%s:%d", i+1, m.host, 7001+10*i))
	}
	m.peers = strings.Join(peers, ",")
	for i := range 3 {
		m.add(fmt.Sprint("n", i+1), "--peers", m.peers)
	}
	for _, one := range m.all {
		one.awaitNodes(3)
	}
	return m
}

// add starts another wsepd.
func (m *machines) add(name string, args ...string) *machine {
	one := &machine{machines: m, name: name, args: args}
	m.all = append(m.all, one)
	one.start()
	return one
}

// dir is where the program is by default, below the state of this test's user.
func (m *machine) dir() string   { return filepath.Join(m.machines.dir, program, "nodes", m.name) }
func (m *machine) trust() string { return filepath.Join(m.machines.dir, "trust") }

// address is the gateway's: the port of n1 is 8081.
func (m *machine) address() string {
	number := 0
	_, _ = fmt.Sscanf(m.name, "n%d", &number) // Others have no number.
	return fmt.Sprintf("%s:%d", m.host, 8080+number)
}

// start starts the program, and waits until it serves clients.
func (m *machine) start() {
	m.t.Helper()
	m.launch()
	require.Eventually(m.t, func() bool { return m.hasEnded() || strings.Contains(m.stderr.String(), "listening on") }, patience, 10*time.Millisecond)
	require.False(m.t, m.hasEnded(), m.stderr.String())
}

// launch starts the program, and waits for nothing.
func (m *machine) launch() {
	args := append([]string{"--name", m.name, "--dir", m.dir(), "--trust", m.trust(), "--listen", m.address()}, m.args...)
	m.cmd, m.stderr, m.ended = m.command(cmp.Or(m.as, "wsepd"), args...), &streamtest.Buffer{}, make(chan struct{})
	if m.runs != nil {
		m.cmd = m.runs()
	}
	m.cmd.Stdout, m.cmd.Stderr = m.stderr, m.stderr
	m.cmd.WaitDelay = time.Second // The keeper may have its outputs.
	require.NoError(m.t, m.cmd.Start())
	go func() { // Ends when the program does: the test's end kills it.
		_ = m.cmd.Wait()
		close(m.ended)
	}()
}

// command returns a command of this program as another one.
func (m *machines) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), runAs+"="+program, "XDG_STATE_HOME="+m.dir)
	return cmd
}

func (m *machine) hasEnded() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

func (m *machine) kill() { m.end(syscall.SIGKILL) }
func (m *machine) stop() { m.end(syscall.SIGTERM) }

// end sends a signal, and waits until the program has ended.
func (m *machine) end(s syscall.Signal) {
	m.t.Helper()
	_ = m.cmd.Process.Signal(s)
	m.awaitEnd()
}

func (m *machine) awaitEnd() {
	m.t.Helper()
	select {
	case <-m.ended:
	case <-time.After(patience):
		m.t.Fatalf("%s does not end; it said:\n%s", m.name, m.stderr)
	}
}

// operate runs a command of an operator, who asks this machine's wsepd.
func (m *machine) operate(args ...string) (stdout string, err error) {
	var out, complaints bytes.Buffer
	if Main(append(args, "--dir", m.dir()), &out, &complaints) != 0 {
		return out.String(), fmt.Errorf("%s", complaints.String())
	}
	return out.String(), nil
}

// mustOperate tries until it succeeds: on a busy machine the registry may be away for a moment.
func (m *machine) mustOperate(args ...string) (out string) {
	m.t.Helper()
	require.Eventually(m.t, func() (ok bool) {
		var err error
		out, err = m.operate(args...)
		return err == nil
	}, patience, 50*time.Millisecond, "%v", args)
	return out
}

func (m *machine) list() (l listing, err error) {
	out, err := m.operate("ls", "--json")
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal([]byte(out), &l)
}

// awaitNodes waits until the machine knows so many nodes that start commands.
func (m *machine) awaitNodes(count int) {
	m.t.Helper()
	m.awaitList(func(l listing) bool {
		ready := 0
		for _, n := range l.Nodes {
			if n.State == fleet.NodeReady {
				ready++
			}
		}
		return ready == count
	})
}

func (m *machine) awaitList(want func(listing) bool) (l listing) {
	m.t.Helper()
	require.Eventually(m.t, func() bool {
		var err error
		l, err = m.list()
		return err == nil && want(l)
	}, patience, 50*time.Millisecond, "%s said:\n%s", m.name, m.stderr)
	return l
}

// dialer returns a client of the machine's gateway.
func (m *machine) dialer() wsep.Dialer { return wsep.Dialer{URL: "ws://" + m.address(), MaxIdle: -1} }

// node returns the machine whose node has a session with the name.
func (m *machines) node(name string) (found *machine) {
	m.t.Helper()
	m.all[0].awaitList(func(l listing) bool {
		for _, s := range l.Sessions {
			i := slices.IndexFunc(m.all, func(one *machine) bool { return s.Name == name && s.Node == one.name })
			if i >= 0 {
				found = m.all[i]
			}
		}
		return found != nil
	})
	return found
}

// shell is a session that tells its PID, and stays.
func shell(id string) wsep.Command {
	return wsep.Command{ID: id, Keep: time.Hour, Command: "sh", Args: []string{"-c", "echo $$; exec sleep 1000"}}
}

// token starts a session at a machine's gateway, or attaches to one, and returns the PID.
func (m *machine) token(c wsep.Command) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := m.dialer().Start(ctx, c)
	if err != nil {
		return "", err
	}
	line, err := bufio.NewReader(p.Stdout()).ReadString('\n')
	cancel()
	_ = p.Wait()
	return line, err
}

// mustToken tries until the session can be reached: on a busy machine a lease may expire. Nobody may say that it is not there.
func (m *machine) mustToken(c wsep.Command) (token string) {
	m.t.Helper()
	require.Eventually(m.t, func() bool {
		var err error
		token, err = m.token(c)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			m.t.Errorf("%s: %v", c.ID, err)
			return true
		}
		return err == nil
	}, patience, 50*time.Millisecond, "%s said:\n%s", m.name, m.stderr)
	return token
}

// cat is a command that a client talks with.
type cat struct {
	t   testing.TB
	p   wsep.Process
	out *bufio.Reader
}

// startCat starts a cat through the machine's gateway. It has no name if that is empty.
func (m *machine) startCat(name string) *cat {
	m.t.Helper()
	return m.startCatOver(m.dialer(), name)
}

func (m *machine) startCatOver(d wsep.Dialer, name string) *cat {
	m.t.Helper()
	var p wsep.Process
	require.Eventually(m.t, func() (ok bool) {
		var err error
		p, err = d.Start(context.Background(), wsep.Command{ID: name, Command: "cat", Stdin: true, Keep: time.Hour})
		return err == nil
	}, patience, 50*time.Millisecond, "%s said:\n%s", m.name, m.stderr)
	return &cat{m.t, p, bufio.NewReader(p.Stdout())}
}

// startCatAwayFrom starts a cat at any other node.
func (m *machine) startCatAwayFrom(node *machine) *cat {
	m.t.Helper()
	for i := 0; ; i++ {
		name := fmt.Sprint("cat", i)
		c := m.startCat(name)
		if m.node(name) != node {
			return c
		}
		c.end()
	}
}

// echo sends a line, and waits for it.
func (c *cat) echo(line string) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.p.Stdin(), line)
	require.NoError(c.t, err)
	got, err := c.out.ReadString('\n')
	require.NoError(c.t, err)
	require.Equal(c.t, line+"\n", got)
}

func (c *cat) end() {
	c.t.Helper()
	require.NoError(c.t, c.p.Stdin().Close())
	require.NoError(c.t, c.p.Wait())
}
