package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// TestAlone is a fleet of one program, which is stopped, killed and started again. Its sessions stay, with their names.
func TestAlone(t *testing.T) {
	t.Parallel()
	n1 := newMachines(t).add("n1")
	n1.awaitNodes(1)
	token := n1.mustToken(shell("build"))
	d, lost := n1.dialer(), make(chan error, 100)
	d.OnConnection = func(e wsep.ConnectionEvent) {
		if e.State == wsep.ConnectionLost {
			lost <- e.Err
		}
	}
	client := n1.startCatOver(d, "")
	client.echo("first")
	for _, end := range []func(){n1.stop, n1.kill} {
		end()
		n1.start()
		n1.awaitNodes(1)
		require.Equal(t, token, n1.mustToken(wsep.Command{ID: "build"}))
		client.echo("the client has come back")
	}
	client.end()
	require.Equal(t, 1012, closeCode(<-lost), "of the one that was stopped")

	l := n1.awaitList(func(l listing) bool { return len(l.Silent) == 0 })
	require.Len(t, l.Sessions, 1)
	require.Equal(t, "build", l.Sessions[0].Name)
	require.Contains(t, n1.mustOperate("ls"), "build")
	_, err := n1.operate("forget", "build")
	require.ErrorContains(t, err, "wsep kill")
	_, err = n1.operate("forget", "other")
	require.ErrorContains(t, err, `no session "other"`)
	_, err = n1.operate("drain", "n2")
	require.ErrorContains(t, err, "there is no node n2")
	_, err = n1.operate("heal", "n1")
	require.ErrorContains(t, err, "keeps no registry")
	for _, name := range []string{adminSocket, "wsepd.lock", "../../../trust/keys", "../../../trust/ca-key.pem"} {
		info, err := os.Stat(filepath.Join(n1.dir(), name))
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, name)
	}

	again := &machine{machines: n1.machines, name: "n1"}
	again.launch()
	again.awaitEnd()
	require.Contains(t, again.stderr.String(), "another wsepd runs in ")
	other := &machine{machines: n1.machines, name: "other", args: []string{"--listen", n1.address()}}
	other.launch()
	other.awaitEnd()
	require.Contains(t, other.stderr.String(), "--listen: "+n1.address()+" is in use by another program")
}

// closeCode returns the code with which a connection was closed, or 0 if it was not.
func closeCode(err error) int {
	var closed interface {
		CloseStatus() (code int, reason string)
	}
	if !errors.As(err, &closed) {
		return 0
	}
	code, _ := closed.CloseStatus()
	return code
}

// hanging is the stderr of a wsepd that hangs as soon as it says that it ends.
type hanging struct{ io.Writer }

func (h hanging) Write(p []byte) (int, error) {
	n, err := h.Writer.Write(p)
	if strings.Contains(string(p), "ending") {
		select {}
	}
	return n, err
}

// TestSecondSignal: Ctrl-C ends wsepd in order, which may take a while. Ctrl-C again ends it at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	m := newMachines(t)
	n1 := &machine{machines: m, name: "n1", as: "wsepd that hangs"}
	m.all = append(m.all, n1)
	n1.start()
	require.NoError(t, n1.cmd.Process.Signal(os.Interrupt))
	require.Eventually(t, func() bool { return strings.Contains(n1.stderr.String(), "ending") }, patience, 10*time.Millisecond)
	require.False(t, n1.hasEnded())
	n1.end(syscall.SIGINT)
	status, _ := n1.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.Equal(t, syscall.SIGINT, status.Signal(), "%v", n1.cmd.ProcessState)
}

// TestThree is what README promises of three: one is killed, one drained, and the shells are where they should be.
func TestThree(t *testing.T) {
	t.Parallel()
	m := newThree(t)
	tokens := map[string]string{}
	for i := range 4 {
		name := fmt.Sprint("s", i)
		tokens[name] = m.all[i%3].mustToken(shell(name))
	}
	turn := 0
	requireShells := func(through ...*machine) {
		t.Helper()
		for name, token := range tokens {
			turn++
			one := through[turn%len(through)]
			require.Equal(t, token, one.mustToken(wsep.Command{ID: name}), "%s through %s", name, one.name)
		}
	}
	requireShells(m.all...)

	lost := m.node("s0")
	others := make([]*machine, 0, 2)
	for _, one := range m.all {
		if one != lost {
			others = append(others, one)
		}
	}
	client := others[0].startCatAwayFrom(lost)
	lost.kill()
	for _, one := range others {
		_, err := one.token(shell("s0"))
		require.ErrorIs(t, err, wsep.ErrDisconnected)
		require.ErrorContains(t, err, "node "+lost.name+" is unreachable")
		client.echo("still there")
	}
	lost.start()
	others[0].awaitList(func(l listing) bool { return len(l.Silent) == 0 && len(l.Nodes) == 3 })
	requireShells(m.all...)

	// Drain a node through another one's wsepd.
	drained := m.node("s1")
	require.Contains(t, others[0].mustOperate("drain", "--no-wait", drained.name), "nothing starts there")
	for i := range 4 {
		name := fmt.Sprint("after", i)
		tokens[name] = m.all[i%3].mustToken(shell(name))
		require.NotEqual(t, drained, m.node(name))
	}
	requireShells(m.all...)
	emptied := make(chan error, 1)
	go func() { // Ends when the node has nothing left.
		out, err := lost.operate("drain", drained.name)
		if err == nil && !strings.HasSuffix(out, drained.name+" is empty\n") {
			err = fmt.Errorf("%s", out)
		}
		emptied <- err
	}()
	client.end()
	l := drained.awaitList(func(l listing) bool { return len(l.Silent) == 0 })
	for _, s := range l.Sessions {
		if s.Node == drained.name {
			require.Eventually(t, func() bool { // Once it is closed, it is not there.
				err := others[1].dialer().CloseSession(t.Context(), s.Name, "over")
				return err == nil || errors.Is(err, fs.ErrNotExist)
			}, patience, 50*time.Millisecond)
			delete(tokens, s.Name)
		}
	}
	select {
	case err := <-emptied:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatal("the drained node is not empty")
	}
	drained.stop()
	drained.start()
	others[0].awaitNodes(3)
	requireShells(m.all...)
}

// TestRolling stops and starts all programs, one after the other. Clients and sessions go on.
func TestRolling(t *testing.T) {
	t.Parallel()
	m := newThree(t)
	token := m.all[0].mustToken(shell("build"))
	var clients []*cat
	for _, one := range m.all {
		clients = append(clients, one.startCat(""))
	}
	for i, one := range m.all {
		one.stop()
		one.start()
		for _, each := range m.all {
			each.awaitNodes(3)
		}
		for _, c := range clients {
			c.echo(fmt.Sprint("round ", i))
		}
	}
	for _, c := range clients {
		c.end()
	}
	require.Equal(t, token, m.all[1].mustToken(wsep.Command{ID: "build"}))
}

// TestHeal has a member of the registry that has lost its disk. One command heals it.
func TestHeal(t *testing.T) {
	t.Parallel()
	m := newThree(t)
	healthy, lost := m.all[0], m.all[2]
	_, err := healthy.operate("heal", lost.name)
	require.ErrorContains(t, err, "n3 may run")
	lost.kill()
	require.NoError(t, os.RemoveAll(filepath.Join(lost.dir(), "etcd")))
	lost.launch()
	lost.awaitEnd()
	require.Contains(t, lost.stderr.String(), `run "wsepd heal n3" on another machine`)
	require.Contains(t, healthy.mustOperate("heal", lost.name), "start wsepd on n3 now")
	healthy.mustOperate("heal", lost.name)
	lost.start()
	for _, one := range m.all {
		one.awaitNodes(3)
	}
	// The registry needs the healed member now.
	m.all[1].kill()
	require.Eventually(t, func() bool {
		_, err := healthy.token(shell("build"))
		return err == nil
	}, patience, 100*time.Millisecond)
}

// TestClientNode is a node that keeps no registry, on a machine without the authority's key.
func TestClientNode(t *testing.T) {
	t.Parallel()
	m := newMachines(t)
	m.peers = "n1=" + m.host + ":7001"
	n1 := m.add("n1", "--peers", m.peers, "--roles", "gateway")
	n1.awaitNodes(0)
	trust := filepath.Join(m.dir, "elsewhere")
	require.Contains(t, administer(t, "issue", "n4", "--trust", n1.trust()), "n4.cert.pem")
	require.NoError(t, os.CopyFS(trust, os.DirFS(n1.trust())))
	require.NoError(t, os.Remove(filepath.Join(trust, authorityKeyFile)))
	require.NoError(t, os.Chmod(filepath.Join(trust, ringFile), 0o600))
	n4 := m.add("n4", "--peers", m.peers, "--trust", trust)
	n1.awaitNodes(1)
	token := n1.mustToken(shell("build"))
	require.Equal(t, n4, m.node("build"))
	require.Equal(t, token, n4.mustToken(wsep.Command{ID: "build"}))

	n5 := &machine{machines: m, name: "n5", args: []string{"--peers", m.peers, "--trust", trust}}
	n5.launch()
	n5.awaitEnd()
	require.Contains(t, n5.stderr.String(), `run "wsepd issue n5"`)
	foreign := &machine{machines: m, name: "n6", args: []string{"--peers", m.peers, "--trust", filepath.Join(m.dir, "foreign")}}
	foreign.launch()
	foreign.awaitEnd()
	require.Contains(t, foreign.stderr.String(), "is of another fleet")

	// Keys rotate while both run.
	old := m.idOf("build")
	rotate := func(want string, args ...string) {
		t.Helper()
		administer(t, append([]string{"keys", "--trust", n1.trust()}, args...)...)
		ring, err := os.ReadFile(filepath.Join(n1.trust(), ringFile))
		require.NoError(t, err)
		require.NoError(t, writeFile(filepath.Join(trust, ringFile), ring))
		for _, one := range []*machine{n1, n4} {
			require.Eventually(t, func() bool { return strings.Contains(one.stderr.String(), "keys: "+want+"\n") }, patience, 10*time.Millisecond)
		}
	}
	rotate("1 2", "add")
	rotate("2 1", "promote", "2")
	n1.mustToken(shell("new"))
	require.True(t, strings.HasPrefix(m.idOf("new"), "w1.2.n4."), m.idOf("new"))
	require.Equal(t, token, n1.mustToken(wsep.Command{ID: old}))
	rotate("2", "remove", "1")
	_, err := n1.token(wsep.Command{ID: old})
	require.ErrorIs(t, err, fs.ErrPermission)
	n1.mustToken(wsep.Command{ID: m.idOf("new")})
}

// idOf returns the ID of a session.
func (m *machines) idOf(name string) (id string) {
	m.all[0].awaitList(func(l listing) bool {
		for _, s := range l.Sessions {
			if s.Name == name {
				id = s.ID
			}
		}
		return id != ""
	})
	return id
}

// administer runs a command that asks nobody.
func administer(t *testing.T, args ...string) string {
	t.Helper()
	var out, complaints strings.Builder
	require.Zero(t, Main(args, &out, &complaints), complaints.String())
	return out.String()
}
