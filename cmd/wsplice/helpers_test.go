//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/streamtest"
)

// testTimeout is how long a test waits for an event that should happen at once.
const testTimeout = 20 * time.Second

// asProgram is a variable that has the test binary run as the program.
const asProgram = "WSPLICE_TEST_AS_PROGRAM"

// process is a running program.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *streamtest.Buffer
	url    string
	exited chan struct{} // closed when the process has been reaped
}

// startProcess starts the program. It is killed at the test's end.
func startProcess(t *testing.T, args ...string) *process { return startProcessWith(t, nil, args...) }

// startProcessWith is startProcess with more variables.
func startProcessWith(t *testing.T, env []string, args ...string) *process {
	cmd := exec.Command(os.Args[0], append([]string{"--listen=127.0.0.1:0"}, args...)...)
	// Without this the race detector would delay the exit by a second.
	cmd.Env = append(append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0"), env...)
	p := &process{t: t, cmd: cmd, log: new(streamtest.Buffer), exited: make(chan struct{})}
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

// end sends a signal. The process must exit with code 0.
func (p *process) end(signal syscall.Signal) {
	require.NoError(p.t, p.cmd.Process.Signal(signal))
	select {
	case <-p.exited:
		require.Equal(p.t, exitOK, p.cmd.ProcessState.ExitCode())
	case <-time.After(testTimeout):
		p.t.Fatal("the process has not ended")
	}
}

// logged waits until the log matches the pattern, and returns the match.
func (p *process) logged(pattern string) []string {
	var match []string
	require.Eventually(p.t, func() bool {
		match = regexp.MustCompile(pattern).FindStringSubmatch(p.log.String())
		return match != nil
	}, testTimeout, 5*time.Millisecond, pattern)
	return match
}

// backend is a server of remotes that echo.
type backend struct {
	url    string
	closed chan error // the errors with which the remotes' connections ended
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

// echo sends messages back until the connection ends. At "drop" it cuts the connection, and at "bye" it sends a close
// frame.
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
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(testTimeout)))
	return &client{t, conn}
}

// control is a control message of the server.
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

// open calls connect with the URL.
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

// opened opens a channel to a backend, and checks that it echoes.
func (c *client) opened(b *backend) (index int) {
	reply := c.open(b.url)
	require.NotNil(c.t, reply.Result, "%+v", reply.Error)
	c.send(reply.Result.Index, "hello")
	got, message := c.receive()
	require.Equal(c.t, reply.Result.Index, got)
	require.Equal(c.t, "hello", message)
	return got
}
