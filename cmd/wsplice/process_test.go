//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// asProgram has the test binary be the program.
const asProgram = "WSPLICE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what is to happen at once, on a machine that is busy.
const patience = 20 * time.Second

// process is a running program.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *log
	url    string
	exited chan struct{} // closed when the process has been reaped
}

// log is what a process writes to stderr. It is safe for concurrent use.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startProcess starts the program, which ends with the test if the test has not ended it.
func startProcess(t *testing.T, args ...string) *process { return startProcessWith(t, nil, args...) }

// startProcessWith also adds to the environment.
func startProcessWith(t *testing.T, env []string, args ...string) *process {
	cmd := exec.Command(os.Args[0], append([]string{"--listen=127.0.0.1:0"}, args...)...)
	// The race detector would give what the program leaves behind a second's time to end.
	cmd.Env = append(append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0"), env...)
	p := &process{t: t, cmd: cmd, log: new(log), exited: make(chan struct{})}
	cmd.Stderr = p.log
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	// Ends with the process.
	go func() {
		defer close(p.exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.exited
		t.Logf("log:\n%s", p.log)
	})
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	p.url = url
	return p
}

// end sends a signal, which must end the process well.
func (p *process) end(signal syscall.Signal) {
	require.NoError(p.t, p.cmd.Process.Signal(signal))
	select {
	case <-p.exited:
		require.Equal(p.t, exitOK, p.cmd.ProcessState.ExitCode())
	case <-time.After(patience):
		p.t.Fatal("the process has not ended")
	}
}

// logged waits until the process has logged a match.
func (p *process) logged(pattern string) []string {
	var match []string
	require.Eventually(p.t, func() bool {
		match = regexp.MustCompile(pattern).FindStringSubmatch(p.log.String())
		return match != nil
	}, patience, 5*time.Millisecond, pattern)
	return match
}

// backend is where remotes are, which echo.
type backend struct {
	url    string
	closed chan error // how a remote's connection ended
}

func startBackend(t *testing.T) *backend {
	b := &backend{closed: make(chan error, 16)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		b.closed <- echo(conn)
	}))
	t.Cleanup(server.Close)
	b.url = "ws" + strings.TrimPrefix(server.URL, "http")
	return b
}

// echo sends messages back until the connection ends. At "bye" it closes it.
func echo(conn *websocket.Conn) error {
	for {
		kind, message, err := conn.ReadMessage()
		switch {
		case err != nil:
			return err
		case string(message) == "drop":
			_ = conn.NetConn().Close()
		case string(message) == "bye":
			_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "bye"))
		default:
			_ = conn.WriteMessage(kind, message)
		}
	}
}

// client is a client of the program.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

func connect(t *testing.T, url string) *client {
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	require.NoError(t, err)
	return newClient(t, conn)
}

func newClient(t *testing.T, conn *websocket.Conn) *client {
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	return &client{t, conn}
}

// control is what a server says on the control channel.
type control struct {
	Method string
	Result *struct{ Index int }
	Error  *struct {
		Code    int
		Message string
		Path    string
	}
	Params struct {
		Index, Code int
		Reason      string
	}
}

// open asks for a connection to the URL.
func (c *client) open(url string) control {
	request, err := json.Marshal(map[string]any{
		"id": 42, "type": "method", "method": "connect", "params": map[string]any{"url": url},
	})
	require.NoError(c.t, err)
	c.send(0xffff, string(request))
	return c.control()
}

func (c *client) send(index int, message string) {
	p := append([]byte{byte(index >> 8), byte(index)}, message...)
	require.NoError(c.t, c.conn.WriteMessage(websocket.BinaryMessage, p))
}

func (c *client) receive() (index int, message string) {
	_, p, err := c.conn.ReadMessage()
	require.NoError(c.t, err)
	require.GreaterOrEqual(c.t, len(p), 2)
	return int(p[0])<<8 | int(p[1]), string(p[2:])
}

func (c *client) control() (said control) {
	index, message := c.receive()
	require.Equal(c.t, 0xffff, index)
	require.NoError(c.t, json.Unmarshal([]byte(message), &said))
	return said
}

// opened opens a channel to a backend and sees that it echoes.
func (c *client) opened(b *backend) (index int) {
	reply := c.open(b.url)
	require.NotNil(c.t, reply.Result, "%+v", reply.Error)
	c.send(reply.Result.Index, "hello")
	got, message := c.receive()
	require.Equal(c.t, reply.Result.Index, got)
	require.Equal(c.t, "hello", message)
	return got
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

// TestForeignHost has web pages whose names resolve to the server's address, which may be another's.
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

// TestNoProxy has the environment name a proxy for all but loopback, which 0.0.0.0 is not by name.
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
		gone := make(chan error, 1)
		// Ends with the connection, at the deadline at the latest.
		go func() {
			_, _, err := c.conn.ReadMessage()
			gone <- err
		}()
		p.end(signal)
		err := <-gone
		require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "client: %v", err)
		err = <-b.closed
		require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "remote: %v", err)
		_, err = net.Dial("tcp", strings.TrimPrefix(p.url, "ws://"))
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
}

// TestSignalEndsInTime has a client that does not answer the close frame, for which the server would wait.
func TestSignalEndsInTime(t *testing.T) {
	p := startProcess(t, "--shutdown-timeout=1ms")
	connect(t, p.url)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatal("the process has not ended")
	}
	require.Equal(t, exitFailed, p.cmd.ProcessState.ExitCode())
	require.Contains(t, p.log.String(), "shut down")
}

func TestProfiles(t *testing.T) {
	p := startProcess(t, "--pprof-address=:0")
	url := p.logged(`profiles.*\burl\b.*?(http://127\.0\.0\.1:\d+/debug/pprof/)`)[1]
	require.Equal(t, http.StatusOK, status(t, url+"cmdline"))
	// Not to clients, and nothing else.
	require.NotEqual(t, http.StatusOK, status(t, "http"+strings.TrimPrefix(p.url, "ws")+"/debug/pprof/cmdline"))
	require.Equal(t, http.StatusNotFound, status(t, strings.TrimSuffix(url, "debug/pprof/")))
}

func status(t *testing.T, url string) int {
	response, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}
