//go:build linux

package wsep_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
)

// gatewayProcess is a gateway in a process of its own, at an address that its successors keep.
type gatewayProcess struct {
	t       *testing.T
	address string
	next    string
	cmd     *exec.Cmd
}

func newGatewayProcess(t *testing.T, next string) *gatewayProcess {
	g := &gatewayProcess{t: t, address: "127.0.0.1:0", next: next}
	g.start()
	t.Cleanup(g.kill)
	return g
}

// start starts the gateway, or its successor.
func (g *gatewayProcess) start() {
	self, err := os.Executable()
	require.NoError(g.t, err)
	g.cmd = exec.Command(self, "-test.run=^TestGatewayProcess$")
	g.cmd.Env = append(os.Environ(), "WSEP_TEST_GATEWAY="+g.address, "WSEP_TEST_GATEWAY_NEXT="+g.next)
	out, err := g.cmd.StdoutPipe()
	require.NoError(g.t, err)
	require.NoError(g.t, g.cmd.Start())
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(g.t, err)
	g.address = strings.TrimSpace(address)
}

// kill is kill -9.
func (g *gatewayProcess) kill() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
}

func (g *gatewayProcess) url() string { return "http://" + g.address }

// TestGatewayProcess is no test, but the gateway.
func TestGatewayProcess(t *testing.T) {
	address := os.Getenv("WSEP_TEST_GATEWAY")
	if address == "" {
		return
	}
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	fmt.Println(listener.Addr())
	_ = http.Serve(listener, &wsep.Handler{Execer: wsep.Dialer{URL: os.Getenv("WSEP_TEST_GATEWAY_NEXT")}})
}

// TestGatewaysAreKilled kills each of two gateways in turn, while processes upload, download, and are typed to.
func TestGatewaysAreKilled(t *testing.T) {
	t.Parallel()
	far := serveCut(t, &wsep.Handler{})
	inner := newGatewayProcess(t, far)
	outer := newGatewayProcess(t, inner.url())
	execer := wsep.Dialer{URL: outer.url()}
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for i := range 6 {
		workers.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				err := inStorm(n, execer)
				_, notStarted := errors.AsType[*startFailed](err)
				if err != nil && !(notStarted && errors.Is(err, wsep.ErrDisconnected)) {
					t.Errorf("command %d: %v", n%len(stormCommands), err)
					return
				}
			}
		})
	}
	for i := range often(4, 40) {
		time.Sleep(300 * time.Millisecond) // Time to get into full flow.
		g := []*gatewayProcess{outer, inner}[i%2]
		g.kill()
		g.start()
	}
	stop()
	workers.Wait()
}

// TestProcessOutlivesItsGateway: the process is the same, and its exit comes through, though it has exited while no gateway
// was there.
func TestProcessOutlivesItsGateway(t *testing.T) {
	t.Parallel()
	far := serveCut(t, &wsep.Handler{})
	gateway := newGatewayProcess(t, far)
	back := make(chan struct{}, 10)
	p, err := wsep.Dialer{URL: gateway.url(), OnConnection: func(e wsep.ConnectionEvent) {
		if e.State == wsep.ConnectionBack {
			back <- struct{}{}
		}
	}}.Start(t.Context(), wsep.Command{Command: "sh", Stdin: true, Args: []string{"-c", "echo $$; read line; echo $line; read line; echo late; exit 5"}})
	require.NoError(t, err)
	pid := readLine(t, p.Stdout())
	gateway.kill()
	_, err = io.WriteString(p.Stdin(), "first\n")
	require.NoError(t, err)
	gateway.start()
	require.Equal(t, "first", readLine(t, p.Stdout()))
	timetest.Receive(t, back)
	require.Equal(t, pid, fmt.Sprint(p.Pid()))
	require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "CONT"))
	require.NoError(t, p.Stdin().Close())
	require.Equal(t, "late", readLine(t, p.Stdout()))
	gateway.kill()
	gateway.start()
	exit, _ := errors.AsType[wsep.ExitError](p.Wait())
	require.Equal(t, 5, exit.ExitCode())
}

// forwardingTo returns the URL of a gateway, and a function that replaces it by another one without memory.
func forwardingTo(t *testing.T, far string) (url string, replace func()) {
	cable := newCable(t, serve(t, wsep.Dialer{URL: far}))
	return cable.url(), func() {
		cable.retarget(serve(t, wsep.Dialer{URL: far}))
		cable.cut(true)
	}
}

// manyPeers is a Forwarder whose commands run at the last of its peers.
type manyPeers []wsep.Dialer

func (m manyPeers) Peers(context.Context) ([]wsep.Dialer, error) { return m, nil }

func (m manyPeers) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	return m[len(m)-1].Start(ctx, c)
}

// TestAllPeersAreAsked: a gateway that does not know a conversation finds it, though other peers take connections and say nothing.
func TestAllPeersAreAsked(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	quiet := wsep.Dialer{URL: "http://" + silent.Addr().String()}
	peers := manyPeers{quiet, {URL: serve(t, wsep.LocalExecer{})}, quiet, {URL: serveCut(t, &wsep.Handler{})}}
	resumeAnew(t, peers)
}

// TestPeersLeadToOneServer: a server is asked twice for a conversation. It refuses one of the two.
func TestPeersLeadToOneServer(t *testing.T) {
	t.Parallel()
	far := wsep.Dialer{URL: serveCut(t, &wsep.Handler{})}
	resumeAnew(t, manyPeers{{URL: serve(t, far)}, far, {URL: serve(t, far)}, far})
}

// resumeAnew has a client go on at one gateway after the other.
func resumeAnew(t *testing.T, execer wsep.Execer) {
	cable := newCable(t, serve(t, execer))
	p, err := wsep.Dialer{URL: cable.url()}.Start(t.Context(), wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	for range 3 {
		cable.retarget(serve(t, execer))
		cable.cut(true)
		_, err = io.WriteString(p.Stdin(), "line\n")
		require.NoError(t, err)
		require.Equal(t, "line", readLine(t, p.Stdout()))
	}
	require.NoError(t, p.Stdin().Close())
	require.NoError(t, p.Wait())
}

// TestForwardedOnTheWire: offsets, numbers and acknowledgments are those of the next hop.
func TestForwardedOnTheWire(t *testing.T) {
	t.Parallel()
	url, replace := forwardingTo(t, serveCut(t, &wsep.Handler{}))
	holdOnTheWire(t, url, func(*rawClient) { replace() })
}

// TestForwardedRefusals: what the next hop refuses is refused, and a start that comes late, to any gateway, starts nothing.
func TestForwardedRefusals(t *testing.T) {
	t.Parallel()
	far := serveCut(t, &wsep.Handler{})
	first, second := serve(t, wsep.Dialer{URL: far}), serve(t, wsep.Dialer{URL: far})
	late := dialRaw(t, first)
	answer := refused(t, second, resumeMarked(testKey(1), 0, late.mark))
	require.Equal(t, "unknown", answer.Kind)
	require.False(t, answer.Never, "another gateway has the start")
	late.send(startWith(testKey(1), 60, "true"))
	require.Equal(t, "invalid", late.next("start_error").Kind, "the next hop knows that it was asked for")

	late = dialRaw(t, first)
	require.True(t, refused(t, first, resumeMarked(testKey(3), 0, late.mark)).Never)
	late.send(startWith(testKey(3), 60, "true"))
	require.Equal(t, "invalid", late.next("start_error").Kind)

	c := dialRaw(t, first)
	c.send(startWith(testKey(2), 60, "read line"))
	c.next("pid")
	require.Equal(t, "gap", refused(t, second, resumeWith(testKey(2), 1000)).Kind)
	again := dialRaw(t, second)
	again.send(startWith(testKey(2), 60, "true"))
	require.Equal(t, "invalid", again.next("start_error").Kind)

	taker := dialRaw(t, second)
	taker.send(resumeWith(testKey(2), 0))
	taker.next("resumed")
	code, _ := c.closed()
	require.EqualValues(t, 4001, code)
	taker.leave()
}

// TestForwardedKeyBelongsToItsOwner: two owners with the same key never meet at the next hop.
func TestForwardedKeyBelongsToItsOwner(t *testing.T) {
	t.Parallel()
	url := newServer(t, &wsep.Handler{
		Execer:    wsep.Dialer{URL: serveCut(t, &wsep.Handler{})},
		Authorize: func(r *http.Request) (string, error) { return r.URL.Query().Get("owner"), nil },
	})
	a, b := dialRaw(t, url+"?owner=a"), dialRaw(t, url+"?owner=b")
	a.send(startWith(testKey(1), 60, "echo a; read line"))
	a.next("pid")
	require.Equal(t, "unknown", refused(t, url+"?owner=c", resumeWith(testKey(1), 0)).Kind)
	b.send(startWith(testKey(1), 60, "echo b; read line"))
	b.next("pid")
	require.Equal(t, "a\n", a.next("stdout").body)
	require.Equal(t, "b\n", b.next("stdout").body)
	a.leave()
	b.leave()
}

// TestGatewayThatGoes: the end of a gateway's context does not end what it forwards. Clients are told to come back, with close code
// 1012.
func TestGatewayThatGoes(t *testing.T) {
	t.Parallel()
	far := serveCut(t, &wsep.Handler{})
	ctx, shutDown := context.WithCancel(t.Context())
	old := httptest.NewUnstartedServer(&wsep.Handler{Execer: wsep.Dialer{URL: far}})
	old.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	old.Start()
	defer old.Close()
	cable := newCable(t, old.URL)
	p, err := wsep.Dialer{URL: cable.url()}.Start(t.Context(), wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	told := dialRaw(t, old.URL)
	told.send(startWith(testKey(1), 60, "read line"))
	told.next("pid")
	successor := serve(t, wsep.Dialer{URL: far})
	cable.retarget(successor)
	shutDown()
	code, _ := told.closed()
	require.EqualValues(t, 1012, code)
	told = dialRaw(t, successor)
	told.send(resumeWith(testKey(1), 0))
	told.next("resumed")
	told.leave()
	_, err = io.WriteString(p.Stdin(), "line\n")
	require.NoError(t, err)
	require.Equal(t, "line", readLine(t, p.Stdout()))
	require.NoError(t, p.Stdin().Close())
	require.NoError(t, p.Wait())
}

// TestNextHopThatDoesNotResume: the gateway then holds the conversation itself.
func TestNextHopThatDoesNotResume(t *testing.T) {
	t.Parallel()
	url := serve(t, wsep.Dialer{URL: newServer(t, &wsep.Handler{Options: &wsep.Options{ResumeTimeout: -1}})})
	c := dialRaw(t, url)
	c.send(startWith(testKey(1), 60, "echo one; read line; exit 3"))
	pid := c.next("pid")
	require.EqualValues(t, 60, pid.Extensions["resume"])
	c.drop()
	c = dialRaw(t, url)
	c.send(resumeWith(testKey(1), 0))
	require.Equal(t, pid.Pid, c.next("resumed").Pid)
	c.send(`{"type":"close_stdin","seq":1}`)
	exit, stdout := c.result()
	require.Equal(t, 3, exit.ExitCode)
	require.Equal(t, "one\n", stdout)
	c.leave()
}

// TestNextHopIsAway: the client comes back until the next hop does.
func TestNextHopIsAway(t *testing.T) {
	t.Parallel()
	far := newCable(t, serveCut(t, &wsep.Handler{}))
	url := serve(t, wsep.Dialer{URL: far.url()})
	p, err := wsep.Dialer{URL: url}.Start(t.Context(), wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	target := far.retarget("http://127.0.0.1:1")
	far.cut(true)
	_, err = io.WriteString(p.Stdin(), "line\n")
	require.NoError(t, err)
	time.Sleep(200 * time.Millisecond) // Time for a try or two.
	far.retarget("http://" + target)
	require.Equal(t, "line", readLine(t, p.Stdout()))
	require.NoError(t, p.Stdin().Close())
	require.NoError(t, p.Wait())
}

// TestGoodbyeReachesTheFarEnd: what a client ends is ended at once, and what a gateway loses is not.
func TestGoodbyeReachesTheFarEnd(t *testing.T) {
	t.Parallel()
	srv := wsep.NewServer()
	far := newServer(t, &wsep.Handler{Server: srv})
	first, second := serve(t, wsep.Dialer{URL: far}), serve(t, wsep.Dialer{URL: far})
	ctx, cancel := context.WithCancel(t.Context())
	p, err := wsep.Dialer{URL: first}.Start(ctx, sh("echo $$; exec sleep 600"))
	require.NoError(t, err)
	pids := readPids(t, readLine(t, p.Stdout()))
	cancel()
	requireGone(t, patience, pids)

	c := dialRaw(t, first)
	c.send(startWith(testKey(1), 60, "echo $$; exec sleep 600"))
	c.next("pid")
	pids = readPids(t, strings.TrimSpace(c.next("stdout").body))
	c.drop()
	c = dialRaw(t, second)
	c.send(resumeWith(testKey(1), 0))
	c.next("resumed")
	require.True(t, alive(pids[0]))
	c.leave()
	requireGone(t, patience, pids)
	srv.Close()
}

// ownProcess is not the Dialer's own process.
type ownProcess struct{ wsep.Process }

// falseForwarder is no Forwarder, though it says so.
type falseForwarder struct{ next wsep.Dialer }

func (f falseForwarder) Peers(context.Context) ([]wsep.Dialer, error) {
	return []wsep.Dialer{f.next}, nil
}

func (f falseForwarder) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p, err := f.next.Start(ctx, c)
	return ownProcess{p}, err
}

// embedsDialer wraps the processes of the Dialer that it embeds.
type embedsDialer struct{ wsep.Dialer }

func (e embedsDialer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p, err := e.Dialer.Start(ctx, c)
	return ownProcess{p}, err
}

// TestWrappersAreNotBypassed: an Execer that wraps the processes keeps its conversations at the gateway.
func TestWrappersAreNotBypassed(t *testing.T) {
	t.Parallel()
	far := wsep.Dialer{URL: serveCut(t, &wsep.Handler{})}
	p, err := wsep.Dialer{URL: serve(t, embedsDialer{far})}.Start(t.Context(), sh("echo fine"))
	require.NoError(t, err)
	require.NoError(t, expectOutput(p, "fine\n"))

	_, err = wsep.Dialer{URL: serve(t, falseForwarder{far})}.Start(t.Context(), sh("exec sleep 600"))
	require.ErrorContains(t, err, "Forwarder")
}
