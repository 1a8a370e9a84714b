//go:build unix

package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestConnect(t *testing.T) {
	p := startProcess(t, "--allowed-hostnames=a.test b.test", "--allowed-hostnames=127.0.0.1")
	c := connect(t, p.url)
	require.Equal(t, 0, c.opened(startBackend(t)))
	require.Equal(t, 1, c.opened(startBackend(t)))
}

func TestEmptyAllowlist(t *testing.T) {
	for _, args := range [][]string{nil, {"--allowed-hostnames="}, {"--allowed-hostnames= , "}} {
		p := startProcess(t, args...)
		reply := connect(t, p.url).open(startBackend(t).url)
		require.NotNil(t, reply.Error, "%q", args)
		require.Equal(t, 4007, reply.Error.Code)
		require.Equal(t, "url", reply.Error.Path)
		p.logged("no remote")
	}
}

func TestCloseMethod(t *testing.T) {
	for want, tc := range map[string]struct {
		args []string
		lost int // the code of a remote that drops its TCP connection
	}{
		"onSocketDisconnect": {nil, 1006}, "onSocketClosed": {[]string{"--legacy-close-method"}, 1001},
	} {
		c := connect(t, startProcess(t, append(tc.args, "--allowed-hostnames=127.0.0.1")...).url)
		c.send(c.opened(startBackend(t)), "drop")
		lost := c.control()
		require.Equal(t, want, lost.Method)
		require.Equal(t, tc.lost, lost.Params.Code)
		require.Empty(t, lost.Params.Reason)
		c.send(c.opened(startBackend(t)), "bye")
		said := c.control()
		require.Equal(t, want, said.Method)
		require.Equal(t, 4321, said.Params.Code)
		require.Equal(t, "bye", said.Params.Reason)
	}
}

func TestLimits(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, "--allowed-hostnames=127.0.0.1", "--max-clients=1", "--max-channels=1", "--frame-size-limit=100")
	c := connect(t, p.url)
	index := c.opened(b)
	require.NotNil(t, c.open(b.url).Error)
	_, response, err := websocket.DefaultDialer.Dial(p.url, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	c.send(index, strings.Repeat("x", 101))
	_, _, err = c.conn.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseMessageTooBig), "%v", err)
}

func TestForeignOrigin(t *testing.T) {
	p := startProcess(t, "--allowed-origins=https://*.example.com")
	for origin, allowed := range map[string]bool{"https://evil.test": false, "https://a.example.com": true} {
		conn, _, err := websocket.DefaultDialer.Dial(p.url, http.Header{"Origin": {origin}})
		require.Equal(t, allowed, err == nil, "%s: %v", origin, err)
		if err == nil {
			_ = conn.Close()
		}
	}
}

// TestForeignHost has requests for names that may belong to another site (DNS rebinding).
func TestForeignHost(t *testing.T) {
	for _, tc := range []struct {
		args    []string
		host    string
		allowed bool
	}{
		{nil, "localhost", true},
		{nil, "evil.test", false},
		{[]string{"--allowed-hosts=*.example.com"}, "a.example.com", true},
		{[]string{"--allowed-hosts=*.example.com"}, "localhost", false},
	} {
		p := startProcess(t, tc.args...)
		conn, response, err := websocket.DefaultDialer.Dial(p.url, http.Header{"Host": {tc.host}})
		if tc.allowed {
			require.NoError(t, err, "%+v", tc)
			_ = conn.Close()
			continue
		}
		require.Error(t, err, "%+v", tc)
		require.Equal(t, http.StatusForbidden, response.StatusCode)
	}
}

// TestNoProxy has an environment with a proxy. The remote is at 0.0.0.0, because Go's client uses no proxy for loopback
// addresses.
func TestNoProxy(t *testing.T) {
	asked := make(chan string, 16)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.RequestURI
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	env := []string{"NO_PROXY=", "no_proxy="}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		env = append(env, name+"="+proxy.URL)
	}
	p := startProcessWith(t, env, "--allowed-hostnames=0.0.0.0")
	b := startBackend(t)
	b.url = strings.Replace(b.url, "127.0.0.1", "0.0.0.0", 1)
	connect(t, p.url).opened(b)
	require.Empty(t, asked)
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	p := startProcess(t, "--allowed-hostnames=127.0.0.1", "--network=unix", "--listen="+path)
	require.Equal(t, "ws+unix://"+path, p.url)
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	conn, _, err := dialer.Dial("ws://any", nil)
	require.NoError(t, err)
	newClient(t, conn).opened(startBackend(t))
	p.end(syscall.SIGTERM)
	require.NoFileExists(t, path)
}

func TestSignalDrains(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		b := startBackend(t)
		p := startProcess(t, "--allowed-hostnames=127.0.0.1")
		c := connect(t, p.url)
		c.opened(b)
		closed := make(chan error, 1)
		// Ends with the connection, at the deadline at the latest.
		go func() {
			_, _, err := c.conn.ReadMessage()
			closed <- err
		}()
		p.end(signal)
		err := <-closed
		require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "client: %v", err)
		err = <-b.closed
		require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "remote: %v", err)
		_, err = net.Dial("tcp", strings.TrimPrefix(p.url, "ws://"))
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
}

// TestSignalEndsInTime has a client that does not answer the close frame. The server exits after the shutdown timeout.
func TestSignalEndsInTime(t *testing.T) {
	p := startProcess(t, "--shutdown-timeout=1ms")
	connect(t, p.url)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(testTimeout):
		t.Fatal("the process has not ended")
	}
	require.Equal(t, exitFailed, p.cmd.ProcessState.ExitCode())
	require.Contains(t, p.log.String(), "shut down")
}

func TestProfiles(t *testing.T) {
	p := startProcess(t, "--pprof-address=:0")
	url := p.logged(`profiles.*\burl\b.*?(http://127\.0\.0\.1:\d+/debug/pprof/)`)[1]
	require.Equal(t, http.StatusOK, status(t, url+"cmdline"))
	// Clients do not get profiles, and the profiler serves nothing else.
	require.NotEqual(t, http.StatusOK, status(t, "http"+strings.TrimPrefix(p.url, "ws")+"/debug/pprof/cmdline"))
	require.Equal(t, http.StatusNotFound, status(t, strings.TrimSuffix(url, "debug/pprof/")))
}

func connect(t *testing.T, url string) *client {
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	require.NoError(t, err)
	return newClient(t, conn)
}

func status(t *testing.T, url string) int {
	response, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}
