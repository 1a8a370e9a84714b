//go:build !windows

package wsep_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
)

// patience is how long a test waits for an event that must happen.
const patience = timetest.Patience

// longTests says whether tests may take long.
var longTests = os.Getenv("WSEP_LONG_TESTS") != ""

// often returns how often to repeat a test that depends on a race: n, or long if tests may take long, or a quarter of n for
// go test -short.
func often(n, long int) int {
	switch {
	case longTests:
		return long
	case testing.Short():
		return (n + 3) / 4
	}
	return n
}

// skipIfShort skips a test that takes too long for go test -short.
func skipIfShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// newServer serves the handler until the test ends, and returns its URL. It fails a test that leaves a client that the server waits
// for.
func newServer(t testing.TB, h *wsep.Handler) string {
	t.Helper()
	if h.Execer == nil {
		h.Execer = wsep.LocalExecer{}
	}
	if h.Server == nil {
		h.Server = wsep.NewServer()
	}
	var open atomic.Int64
	url := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		defer h.Server.Close()
		assert.Eventually(t, func() bool {
			h.Server.CloseIdleConnections()
			return open.Load() == 0
		}, patience, 5*time.Millisecond, "the server waits for a client")
	})
	return url
}

// serveHTTP serves until the test ends, and returns its URL.
func serveHTTP(t testing.TB, h http.Handler) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// serve runs a Handler for the execer until the test ends, and returns its URL.
func serve(t testing.TB, execer wsep.Execer) string {
	return newServer(t, &wsep.Handler{Execer: execer})
}

func sh(script string) wsep.Command {
	return wsep.Command{Command: "sh", Args: []string{"-c", script}}
}

// rawClient is a client that can send any message. Each read and each write may take up to patience.
type rawClient struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
	mark string // the server's
}

func dialRaw(t *testing.T, url string) *rawClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, answer, err := websocket.Dial(ctx, url, nil)
	require.NoError(t, err)
	conn.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &rawClient{t, t.Context(), conn, answer.Header.Get("Wsep-Server")}
}

// readEcho reads up to the next echo message, and returns its number. It returns 0 at the exit message.
func (c *rawClient) readEcho() int64 {
	c.t.Helper()
	for {
		m, err := c.read()
		require.NoError(c.t, err)
		switch m.Type {
		case "echo":
			return m.N
		case "exit_code":
			return 0
		}
	}
}

func (c *rawClient) send(messages ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	for _, m := range messages {
		// The server may have closed the connection at an earlier message.
		_ = c.conn.Write(ctx, websocket.MessageBinary, []byte(m))
	}
}

func (c *rawClient) read() (message, error) {
	var m message
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	_, p, err := c.conn.Read(ctx)
	if err != nil {
		return m, err
	}
	header, body, _ := bytes.Cut(p, []byte("\n"))
	require.NoError(c.t, json.Unmarshal(header, &m), "%q", p)
	m.body = string(body)
	return m, nil
}

// result reads to the exit message and returns it with the output.
func (c *rawClient) result() (exit message, stdout string) {
	c.t.Helper()
	for {
		m, err := c.read()
		require.NoError(c.t, err)
		switch m.Type {
		case "stdout":
			stdout += m.body
		case "exit_code":
			return m, stdout
		}
	}
}

// closed reads until the connection is closed. The close frame must have a reason.
func (c *rawClient) closed() (code websocket.StatusCode, reason string) {
	c.t.Helper()
	for {
		_, err := c.read()
		if err == nil {
			continue
		}
		var ce websocket.CloseError
		require.ErrorAs(c.t, err, &ce)
		require.NotEmpty(c.t, ce.Reason)
		return ce.Code, ce.Reason
	}
}

// message is what the server sent.
type message struct {
	Type       string
	Pid        int
	ExitCode   int `json:"exit_code"`
	Error      string
	Signal     string
	Kind       string
	Message    string
	N          int64
	Stdin      int64
	Seq        int64
	Never      bool
	Pending    bool
	Extensions map[string]any
	body       string
}

const (
	startCat   = `{"type":"start","command":{"command":"cat","stdin":true}}`
	startSleep = `{"type":"start","command":{"command":"sleep","args":["60"],"stdin":true}}`
)

// readLine reads a line of output byte by byte, so that nothing after it is read.
func readLine(t *testing.T, r io.Reader) string {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n == 1 && b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[:n]...)
		require.NoError(t, err)
	}
}

// readPids reads the line of pids that stubborn prints.
func readPids(t *testing.T, line string) (pids []int) {
	t.Helper()
	for _, field := range strings.Fields(line) {
		pid, err := strconv.Atoi(field)
		require.NoError(t, err, line)
		pids = append(pids, pid)
	}
	require.NotEmpty(t, pids)
	return pids
}

// alive reports whether a process runs. A zombie does not run.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// requireGone waits until the processes have exited.
func requireGone(t *testing.T, within time.Duration, pids []int) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, pid := range pids {
			if alive(pid) {
				return false
			}
		}
		return true
	}, within, 5*time.Millisecond, "processes %v are left behind", pids)
}

// requireRoot skips a test that changes users if the tests do not run as root. CI runs them as root.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to run commands as other users")
	}
}

// inRootDirectory runs a command in /, which every user may enter. Other users may not enter the tests' directory.
func inRootDirectory(c wsep.Command) wsep.Command {
	c.WorkingDir = "/"
	return c
}

// zeros is an input without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// buildV024 builds one of the programs in ci/v024 and returns its path.
func buildV024(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./"+name)
	build.Dir = filepath.Join("ci", "v024")
	build.Env = append(os.Environ(), "GOWORK=off")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// startV024Server starts a server of v0.2.4. It returns the URL, and a function that kills it. It ends with the test.
func startV024Server(t *testing.T, program string, flags ...string) (url string, kill func()) {
	t.Helper()
	cmd := exec.Command(program, flags...)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return readLine(t, stdout), func() { _ = cmd.Process.Kill() }
}

// run runs a command. It returns stdout and stderr together, and the error of Wait.
func run(t *testing.T, execer wsep.Execer, c wsep.Command) (string, error) {
	t.Helper()
	p, err := execer.Start(t.Context(), c)
	require.NoError(t, err)
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	errOut, err := io.ReadAll(p.Stderr())
	require.NoError(t, err)
	return string(out) + string(errOut), p.Wait()
}
