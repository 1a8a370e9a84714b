//go:build linux

package wsep_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
	"cdr.dev/wsep/internal/timetest"
	"cdr.dev/wsep/internal/wsconn"
)

// counted is a server that counts its connections.
type counted struct {
	url                 string
	made, open, refused atomic.Int64
	refuse              atomic.Bool // Authorize refuses every client
}

// countConnections serves a Handler, and counts.
func countConnections(t *testing.T, h *wsep.Handler) *counted {
	c := new(counted)
	if h.Execer == nil {
		h.Execer = wsep.LocalExecer{}
	}
	h.Authorize = func(*http.Request) (string, error) {
		if c.refuse.Load() {
			c.refused.Add(1)
			return "", fmt.Errorf("revoked")
		}
		return "", nil
	}
	c.url = serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.made.Add(1)
		c.open.Add(1)
		defer c.open.Add(-1)
		h.ServeHTTP(w, r)
	}))
	return c
}

// reusing returns a Dialer whose idle connections are closed at the test's end.
func reusing(t *testing.T, url string) wsep.Dialer {
	d := wsep.Dialer{URL: url}
	t.Cleanup(d.CloseIdleConnections)
	return d
}

// exits runs a command, and requires its output and its exit.
func exits(t *testing.T, execer wsep.Execer, script string, code int, want string) {
	t.Helper()
	out, err := wsep.Output(t.Context(), execer, sh(script))
	var exit wsep.ExitError
	if code != 0 {
		require.ErrorAs(t, err, &exit)
		require.Equal(t, code, exit.ExitCode())
	} else {
		require.NoError(t, err)
	}
	require.Equal(t, want, string(out))
}

// TestConnectionIsReused: commands that come one after the other share a connection. Those at the same time do not.
func TestConnectionIsReused(t *testing.T) {
	t.Parallel()
	server := countConnections(t, &wsep.Handler{})
	d := reusing(t, server.url)
	for range 20 {
		exits(t, d, "read line; echo got; exit 3", 3, "got\n")
	}
	require.EqualValues(t, 1, server.made.Load())

	var running [4]wsep.Process
	for i := range running {
		p, err := d.Start(t.Context(), wsep.Command{Command: "cat", Stdin: true})
		require.NoError(t, err)
		running[i] = p
	}
	require.EqualValues(t, 4, server.made.Load(), "the first had the one that was kept")
	for _, p := range running {
		require.NoError(t, p.Stdin().Close())
		require.NoError(t, p.Wait())
	}
	exits(t, d, "echo again", 0, "again\n")
	require.EqualValues(t, 4, server.made.Load())
	require.Eventually(t, func() bool { return server.open.Load() == 2 }, timetest.Patience, 5*time.Millisecond,
		"two are kept by default")
	d.CloseIdleConnections()
	require.Eventually(t, func() bool { return server.open.Load() == 0 }, timetest.Patience, 5*time.Millisecond)
}

// dialing returns a Dial whose connections tell no mark.
func dialing(url string) func(context.Context) (wsep.Conn, error) {
	return func(ctx context.Context) (wsep.Conn, error) {
		conn, _, err := websocket.Dial(ctx, url, nil)
		if err != nil {
			return nil, err
		}
		return wsconn.Nhooyr(conn), nil
	}
}

// TestConnectionsOfOnesOwnAreReused if MaxIdle says so.
func TestConnectionsOfOnesOwnAreReused(t *testing.T) {
	t.Parallel()
	server := countConnections(t, &wsep.Handler{})
	for range 2 { // Two Dialers share no connections, though they look the same.
		d := wsep.Dialer{Dial: dialing(server.url), MaxIdle: 1}
		defer d.CloseIdleConnections()
		for range 3 {
			exits(t, d, "echo hi", 0, "hi\n")
		}
	}
	require.EqualValues(t, 2, server.made.Load())
}

// TestChannelIsReused: a channel of wsplice is a connection like any other.
func TestChannelIsReused(t *testing.T) {
	t.Parallel()
	server := countConnections(t, &wsep.Handler{})
	client := dialSplice(t)
	d := wsep.Dialer{MaxIdle: 1, Dial: func(ctx context.Context) (wsep.Conn, error) {
		return client.Connect(ctx, strings.Replace(server.url, "http", "ws", 1), nil)
	}}
	defer d.CloseIdleConnections()
	for range 5 {
		exits(t, d, "cat; echo hi; exit 3", 3, "hi\n")
	}
	require.EqualValues(t, 1, server.made.Load())
}

// TestConnectionIsNotReused: what keeps a connection for one command.
func TestConnectionIsNotReused(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	for name, change := range map[string]func(d *wsep.Dialer, o *wsep.Options){
		"the user keeps none":          func(d *wsep.Dialer, _ *wsep.Options) { d.MaxIdle = -1 },
		"the server carries one":       func(_ *wsep.Dialer, o *wsep.Options) { o.MaxLife = -1 },
		"no resume, so no safe start":  func(d *wsep.Dialer, _ *wsep.Options) { d.Resume = -1 },
		"a Dial of one's own":          func(d *wsep.Dialer, _ *wsep.Options) { d.Dial = dialing(d.URL) },
		"a handshake that may change":  func(d *wsep.Dialer, _ *wsep.Options) { d.HTTPClient = &http.Client{Jar: jar} },
		"another header for each":      func(d *wsep.Dialer, _ *wsep.Options) { d.Header = http.Header{"X": {time.Now().String()}} },
		"a connection is kept briefly": func(d *wsep.Dialer, _ *wsep.Options) { d.IdleTimeout = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := new(wsep.Options)
			server := countConnections(t, &wsep.Handler{Options: opts})
			change(&wsep.Dialer{}, opts)
			for range 3 {
				d := reusing(t, server.url)
				change(&d, new(wsep.Options))
				exits(t, d, "echo hi", 0, "hi\n")
				if d.IdleTimeout > 0 {
					require.Eventually(t, func() bool { return server.open.Load() == 0 }, timetest.Patience, time.Millisecond)
				}
			}
			require.EqualValues(t, 3, server.made.Load())
		})
	}
}

// TestReusedConnectionsHaveAnOwner: a user whose right is revoked starts nothing more once MaxLife is over.
func TestReusedConnectionsHaveAnOwner(t *testing.T) {
	t.Parallel()
	server := countConnections(t, &wsep.Handler{Options: &wsep.Options{MaxLife: 2 * time.Second}})
	d := reusing(t, server.url)
	exits(t, d, "echo hi", 0, "hi\n")
	server.refuse.Store(true)
	require.Eventually(t, func() bool { return server.open.Load() == 0 }, timetest.Patience, 5*time.Millisecond,
		"the server closes a connection that rests too long")
	_, err := wsep.Output(t.Context(), d, sh("echo no"))
	require.Error(t, err)
	require.Positive(t, server.refused.Load())
}

// TestServerClosesIdleConnections: a server that is to end need not wait for connections at rest.
func TestServerClosesIdleConnections(t *testing.T) {
	t.Parallel()
	srv := wsep.NewServer()
	server := countConnections(t, &wsep.Handler{Server: srv})
	d := reusing(t, server.url)
	running, err := d.Start(t.Context(), wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	for want, end := range []func(){srv.CloseIdleConnections, srv.Close} {
		exits(t, d, "echo hi", 0, "hi\n")
		require.EqualValues(t, 2+want, server.made.Load())
		require.Eventually(t, func() bool {
			end() // The server may still have to read that the command is done with the connection.
			return server.open.Load() == 1
		}, timetest.Patience, 5*time.Millisecond)
	}
	require.NoError(t, running.Stdin().Close())
	require.NoError(t, running.Wait(), "it is not affected")
}

// TestNothingIsLeftToTheNext: whatever a command leaves unread or unsaid, the next one on the connection has a clean start.
func TestNothingIsLeftToTheNext(t *testing.T) {
	t.Parallel()
	server := countConnections(t, &wsep.Handler{})
	d := reusing(t, server.url)
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	for i := range often(30, 300) {
		switch i % 5 {
		case 0: // The command takes no more stdin while bytes are under way.
			err := wsep.Run(t.Context(), d, sh("head -c 1 >/dev/null; exit 4"), bytes.NewReader(data), io.Discard, io.Discard)
			var exit wsep.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 4, exit.ExitCode())
		case 1: // Acknowledgments of both directions are under way at the end.
			var out bytes.Buffer
			require.NoError(t, wsep.Run(t.Context(), d, sh("cat"), bytes.NewReader(data), &out, io.Discard))
			require.True(t, bytes.Equal(data, out.Bytes()))
		case 2: // The client leaves early.
			ctx, cancel := context.WithCancel(t.Context())
			p, err := d.Start(ctx, sh("yes"))
			require.NoError(t, err)
			_, err = io.ReadFull(p.Stdout(), make([]byte, 1<<20))
			require.NoError(t, err)
			cancel()
			require.Error(t, p.Wait())
		case 3: // Requests come when there is nothing to ask any more.
			p, err := d.Start(t.Context(), sh("echo out; echo err >&2"))
			require.NoError(t, err)
			for range 20 {
				_ = p.(wsep.Signaler).Signal(t.Context(), "TERM")
			}
			_ = p.Close()
			_, err = io.ReadAll(p.Stdout())
			require.NoError(t, err)
			_ = p.Wait()
		case 4: // A start that fails ends its connection.
			_, err := d.Start(t.Context(), wsep.Command{Command: "/nonexistent"})
			require.ErrorAs(t, err, new(*wsep.StartError))
		}
		exits(t, d, "cat; echo clean; exit 7", 7, "clean\n")
	}
	require.Less(t, server.made.Load(), int64(often(30, 300)*2), "connections were reused in between")
}

// TestRestingConnectionIsLost: its loss means nothing, whether it is noticed before the next start or not.
func TestRestingConnectionIsLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(c *cable){
		"reset":  func(c *cable) { c.cut(true) },
		"closed": func(c *cable) { c.cut(false) },
		"unseen": func(c *cable) { c.mute() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line := newCable(t, serveCut(t, &wsep.Handler{}))
			d := reusing(t, line.url())
			d.KeepAlive = 200 * time.Millisecond // A connection that has become silent is found soon.
			runs := filepath.Join(t.TempDir(), "runs")
			for range 3 {
				exits(t, d, "echo ran >>"+runs, 0, "")
				lose(line)
			}
			ran, err := os.ReadFile(runs)
			require.NoError(t, err)
			require.Equal(t, strings.Repeat("ran\n", 3), string(ran), "each once")
		})
	}
}

// TestReusedConnectionIsLost cuts a connection that has carried a command before, at many places of the second conversation: the
// start may be lost, its answer, or what comes later.
func TestReusedConnectionIsLost(t *testing.T) {
	t.Parallel()
	url := serveCut(t, &wsep.Handler{})
	for after := int64(0); after < 2500; after += int64(often(200, 10)) {
		for _, up := range []bool{false, true} {
			var connections atomic.Int64
			line := cuttest.New(t, url, func() cuttest.Plan {
				if connections.Add(1) > 1 {
					return cuttest.Plan{}
				}
				return cuttest.Plan{How: cuttest.Reset, Up: up, After: after}
			})
			d := reusing(t, line.URL())
			runs := filepath.Join(t.TempDir(), "runs")
			for range 3 {
				exits(t, d, "cat; echo ran | tee -a "+runs+"; exit 5", 5, "ran\n")
			}
			ran, err := os.ReadFile(runs)
			require.NoError(t, err)
			require.Equal(t, strings.Repeat("ran\n", 3), string(ran), "each once, cut after %d bytes", after)
			d.CloseIdleConnections()
		}
	}
}

// TestGatewayReuses: a client's connection to a gateway carries several commands, and so does the gateway's to the next hop, if it may.
func TestGatewayReuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		next  wsep.Dialer
		hops  int // how many connections the gateway makes
		rests int // how many it keeps
	}{
		"forwards":             {wsep.Dialer{}, 1, 1},
		"forwards, keeps none": {wsep.Dialer{MaxIdle: -1}, 10, 0},
		"holds":                {wsep.Dialer{Resume: -1}, 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := countConnections(t, &wsep.Handler{})
			next := c.next
			next.URL = host.url
			t.Cleanup(next.CloseIdleConnections)
			gateway := countConnections(t, &wsep.Handler{Execer: next})
			d := reusing(t, gateway.url)
			for range 10 {
				exits(t, d, "cat; echo out; exit 3", 3, "out\n")
			}
			require.EqualValues(t, 1, gateway.made.Load())
			require.EqualValues(t, c.hops, host.made.Load())
			require.Eventually(t, func() bool { return int(host.open.Load()) == c.rests }, timetest.Patience, 5*time.Millisecond)
		})
	}
}

// TestGatewayLeavesHop: a gateway does not use a connection again that its next hop has closed, or on which a client left early.
func TestGatewayLeavesHop(t *testing.T) {
	t.Parallel()
	server := wsep.NewServer()
	t.Cleanup(server.Close)
	host := countConnections(t, &wsep.Handler{Server: server})
	next := reusing(t, host.url)
	gateway := countConnections(t, &wsep.Handler{Execer: next})
	d := reusing(t, gateway.url)
	for range 3 {
		exits(t, d, "exit 3", 3, "")
		require.Eventually(t, func() bool {
			server.CloseIdleConnections()
			return host.open.Load() == 0
		}, timetest.Patience, 5*time.Millisecond)
	}
	require.EqualValues(t, 3, host.made.Load())
	for range 3 {
		ctx, leave := context.WithCancel(t.Context())
		p, err := d.Start(ctx, sh("echo begun; sleep 100"))
		require.NoError(t, err)
		_, err = io.ReadFull(p.Stdout(), make([]byte, 6))
		require.NoError(t, err)
		leave()
		require.Error(t, p.Wait())
		require.Eventually(t, func() bool { return host.open.Load() == 0 }, timetest.Patience, 5*time.Millisecond)
	}
}
