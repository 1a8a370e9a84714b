//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what is to happen at once, on a machine that is busy.
const patience = 20 * time.Second

// asProgram has the test binary be the program.
const asProgram = "WSPLICE_TEST_AS_PROGRAM"

// process is a running program.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *log
	url    string
	exited chan struct{} // closed when the process has been reaped
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
