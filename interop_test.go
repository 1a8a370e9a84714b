//go:build !windows

package wsep_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
)

// Interoperation with the published wsep v0.2.4, whose server and client are built from ci/v024 and run as programs.
// Every connection passes through a recorder. It checks that this version sends only what v0.2.4 understands.

func TestOurClientWithV024Server(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	server := buildV024(t, "server")
	for _, tc := range []struct {
		name   string
		execer func(url string) wsep.Execer
	}{
		{"Dialer", func(url string) wsep.Execer { return wsep.Dialer{URL: url} }},
		{"RemoteExecer", func(url string) wsep.Execer { return connExecer(url) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testInterop(t, func(t *testing.T) client { return ourClient{tc.execer(serveV024(t, server).url)} })
		})
	}
	t.Run("wait error", func(t *testing.T) { testV024WaitError(t, server) })
	t.Run("close", func(t *testing.T) { testCloseAtV024(t, server) })
	t.Run("cancel", func(t *testing.T) { testCancelAtV024(t, server) })
	t.Run("server gone", func(t *testing.T) { testV024ServerGone(t, server) })
	t.Run("signal", func(t *testing.T) { testSignalAtV024(t, server) })
	t.Run("second start", func(t *testing.T) { testSecondStartAtV024(t, server) })
	t.Run("unread output", func(t *testing.T) { testUnreadOutputOfV024(t, server) })
}

func TestV024ClientWithOurServer(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	program := buildV024(t, "client")
	t.Run("Handler", func(t *testing.T) {
		testInterop(t, func(t *testing.T) client {
			return v024Client{program, serveOurs(t, &wsep.Handler{Execer: wsep.LocalExecer{}}).url}
		})
	})
	t.Run("Serve", func(t *testing.T) {
		testInterop(t, func(t *testing.T) client {
			return v024Client{program, serveOurs(t, &serveHandler{execer: wsep.LocalExecer{}}).url}
		})
	})
	t.Run("wait error", func(t *testing.T) { testWaitErrorForV024(t, program) })
	t.Run("disconnect", func(t *testing.T) { testDisconnectOfV024(t, program) })
	t.Run("streaming stdin", func(t *testing.T) { testStreamingStdinOfV024(t, program) })
	t.Run("end of file on terminal", func(t *testing.T) { testEndOfFileFromV024(t, program) })
	t.Run("paused reader", func(t *testing.T) { testPausedV024Client(t, program) })
}

func TestV024ClientAndServerAroundOurs(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	program, server := buildV024(t, "client"), buildV024(t, "server")
	testInterop(t, func(t *testing.T) client {
		inner := wsep.Dialer{URL: serveV024(t, server).url}
		return v024Client{program, serveOurs(t, &wsep.Handler{Execer: inner}).url}
	})
}

// client is either version's client, connected to some server.
type client interface {
	run(t *testing.T, x exchange) ending
}

// exchange is a command, and what the client does while it runs.
type exchange struct {
	command wsep.Command
	// stdin is the command's input, if it is not nil. The first writes have the sizes in writes.
	stdin  []byte
	writes []int
	// keepStdin leaves stdin open.
	keepStdin bool
	// rows and cols are the terminal's size from the first output on, if they are not 0.
	rows, cols uint16
}

// ending is how a command ended.
type ending struct {
	startErr       string // why it did not start, if it did not
	pid            int
	stdout, stderr []byte
	stdinErr       string // why stdin could not be written or closed, if it could not
	waitErr        string // what Wait returned
	exitCode       *int   // the exit code, if that was an ExitError
}

func (e ending) requireSuccess(t *testing.T) {
	t.Helper()
	require.Empty(t, e.startErr)
	require.Empty(t, e.waitErr)
}

func (e ending) requireExitCode(t *testing.T, code int) {
	t.Helper()
	require.Empty(t, e.startErr)
	require.NotNil(t, e.exitCode, "Wait returned %q", e.waitErr)
	require.Equal(t, code, *e.exitCode)
}

// testInterop checks what either version's client gets from either version's server. Every test has a connection of
// its own.
func testInterop(t *testing.T, connect func(t *testing.T) client) {
	test := func(name string, f func(t *testing.T, c client)) {
		t.Run(name, func(t *testing.T) { f(t, connect(t)) })
	}
	test("streams", func(t *testing.T, c client) {
		e := c.run(t, exchange{command: sh(`echo $$; echo err >&2`)})
		e.requireSuccess(t)
		require.Equal(t, fmt.Sprintln(e.pid), string(e.stdout))
		require.Equal(t, "err\n", string(e.stderr))
	})
	for _, code := range []int{0, 1, 5, 44, 255} {
		test(fmt.Sprintf("exit code %d", code), func(t *testing.T, c client) {
			e := c.run(t, exchange{command: sh(fmt.Sprintf(`echo out; exit %d`, code))})
			require.Equal(t, "out\n", string(e.stdout))
			if code == 0 {
				e.requireSuccess(t)
				return
			}
			e.requireExitCode(t, code)
		})
	}
	for _, signal := range []string{"KILL", "TERM"} {
		test("killed by "+signal, func(t *testing.T, c client) {
			e := c.run(t, exchange{command: sh(fmt.Sprintf(`echo out; kill -%s $$`, signal))})
			require.Equal(t, "out\n", string(e.stdout))
			e.requireExitCode(t, -1)
		})
	}
	test("environment and directory", func(t *testing.T, c client) {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		require.NoError(t, err)
		command := sh(`echo "$A|$B"; pwd`)
		command.Env, command.WorkingDir = []string{"A=a b=c", "B=ö"}, dir
		e := c.run(t, exchange{command: command})
		e.requireSuccess(t)
		require.Equal(t, "a b=c|ö\n"+dir+"\n", string(e.stdout))
	})
	test("large data each way", func(t *testing.T, c client) {
		data := randomBytes(often(4, 10) << 20)
		e := c.run(t, exchange{command: sh(`tee /dev/stderr`), stdin: data})
		e.requireSuccess(t)
		requireSame(t, data, e.stdout)
		requireSame(t, data, e.stderr)
	})
	test("half-close", func(t *testing.T, c client) {
		e := c.run(t, exchange{command: sh(`cat; echo after; exit 5`), stdin: []byte("before\n")})
		e.requireExitCode(t, 5)
		require.Equal(t, "before\nafter\n", string(e.stdout))
	})
	test("sizes of writes", testWriteSizes)
	test("terminal", testInteropTerminal)
	test("typing", func(t *testing.T, c client) {
		command := sh(`read line; echo "got $line"; exit 3`)
		command.TTY, command.Rows, command.Cols = true, 24, 80
		e := c.run(t, exchange{command: command, stdin: []byte("hello\n"), keepStdin: true})
		e.requireExitCode(t, 3)
		require.Contains(t, string(e.stdout), "got hello\r\n")
	})
	for _, tc := range []struct {
		name, reason string
		command      wsep.Command
	}{
		{"missing program", "no such file", wsep.Command{Command: "/no/such/program"}},
		{"program not in PATH", "not found", wsep.Command{Command: "no-such-program"}},
		{"missing directory", "no such file", wsep.Command{Command: "true", WorkingDir: "/no/such/directory"}},
		{"long name", "start command: ", wsep.Command{Command: "/" + strings.Repeat("ö", 300)}},
	} {
		test("failed start/"+tc.name, func(t *testing.T, c client) {
			e := c.run(t, exchange{command: tc.command})
			require.Contains(t, e.startErr, tc.reason)
		})
	}
}

// testWriteSizes writes about as many bytes as the largest message has, with and without its header.
func testWriteSizes(t *testing.T, c client) {
	sizes := []int{1, 32768}
	for n := 63982; n <= 64001; n++ {
		sizes = append(sizes, n)
	}
	sizes = append(sizes, 65536, 200000)
	total := 0
	for _, n := range sizes {
		total += n
	}
	data := randomBytes(total)
	e := c.run(t, exchange{command: wsep.Command{Command: "cat"}, stdin: data, writes: sizes})
	e.requireSuccess(t)
	requireSame(t, data, e.stdout)
}

func testInteropTerminal(t *testing.T, c client) {
	command := sh(`test -t 0 && test -t 1 && test -t 2 || exit 1
		stty size
		until [ "$(stty size)" = "50 132" ]; do sleep 0.01; done
		echo resized`)
	command.TTY, command.Rows, command.Cols = true, 33, 101
	e := c.run(t, exchange{command: command, rows: 50, cols: 132})
	e.requireSuccess(t)
	require.Equal(t, "33 101\r\nresized\r\n", string(e.stdout))
	require.Empty(t, e.stderr)
}

// This version's client.

// connExecer is the URL of a server. The test dials a connection for each command.
type connExecer string

func (url connExecer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	conn, _, err := websocket.Dial(ctx, string(url), nil)
	if err != nil {
		return nil, err
	}
	return wsep.RemoteExecer(conn).Start(ctx, c)
}

type ourClient struct{ execer wsep.Execer }

func (c ourClient) run(t *testing.T, x exchange) (e ending) {
	ctx := interopContext(t)
	x.command.Stdin = x.stdin != nil
	p, err := c.execer.Start(ctx, x.command)
	if err != nil {
		require.ErrorAs(t, err, new(*wsep.StartError))
		require.NotErrorIs(t, err, wsep.ErrDisconnected)
		return ending{startErr: err.Error()}
	}
	e.pid = p.Pid()
	var streams sync.WaitGroup
	streams.Go(func() {
		err := writeStdin(p.Stdin(), x)
		if !errors.Is(err, os.ErrProcessDone) { // The command may exit before the write returns.
			assert.NoError(t, err)
		}
	})
	streams.Go(func() { e.stderr = readAll(t, p.Stderr()) })
	streams.Go(func() {
		first := make([]byte, 1)
		n, _ := p.Stdout().Read(first)
		if x.rows != 0 {
			assert.NoError(t, p.Resize(ctx, x.rows, x.cols))
		}
		e.stdout = append(first[:n], readAll(t, p.Stdout())...)
	})
	streams.Wait()
	if err := p.Wait(); err != nil {
		e.waitErr = err.Error()
		if exit, ok := errors.AsType[wsep.ExitError](err); ok {
			code := exit.ExitCode()
			e.exitCode = &code
		}
	}
	return e
}

func writeStdin(stdin io.WriteCloser, x exchange) error {
	rest := x.stdin
	for _, n := range x.writes {
		if _, err := stdin.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		if _, err := stdin.Write(rest); err != nil {
			return err
		}
	}
	if x.keepStdin {
		return nil
	}
	return stdin.Close()
}

func readAll(t *testing.T, r io.Reader) []byte {
	b, err := io.ReadAll(r)
	assert.NoError(t, err)
	return b
}

// testV024WaitError checks the exit message of a v0.2.4 server that does not know the exit code. It says 0.
func testV024WaitError(t *testing.T, server string) {
	p, err := wsep.Dialer{URL: serveV024(t, server, "-wait-error", "who knows").url}.
		Start(interopContext(t), sh(`echo out`))
	require.NoError(t, err)
	require.Equal(t, "out\n", string(readAll(t, p.Stdout())))
	err = p.Wait()
	require.ErrorContains(t, err, "who knows")
	require.NotErrorAs(t, err, new(wsep.ExitError))
}

func testCloseAtV024(t *testing.T, server string) {
	rec := serveV024(t, server)
	p, err := wsep.Dialer{URL: rec.url}.Start(interopContext(t), sh(`echo $$; exec sleep 1000`))
	require.NoError(t, err)
	pids := readPids(t, readLine(t, p.Stdout()))
	require.NoError(t, p.Close())
	requireGone(t, patience, pids)
	require.ErrorIs(t, p.Wait(), wsep.ErrDisconnected)
	require.NoError(t, p.Close())
	codes := rec.closeCodes(t, fromClient)
	require.NotEmpty(t, codes, "the connection was cut")
	require.Equal(t, 1000, codes[0])
}

func testCancelAtV024(t *testing.T, server string) {
	ctx, cancel := context.WithCancel(interopContext(t))
	p, err := wsep.Dialer{URL: serveV024(t, server).url}.Start(ctx, sh(`echo $$; exec sleep 1000`))
	require.NoError(t, err)
	pids := readPids(t, readLine(t, p.Stdout()))
	cancel()
	requireGone(t, patience, pids)
	err = p.Wait()
	require.ErrorIs(t, err, wsep.ErrDisconnected)
	require.ErrorIs(t, err, context.Canceled)
}

func testV024ServerGone(t *testing.T, server string) {
	target, kill := startV024Server(t, server)
	// It exits at the end of its stdin.
	command := sh(`echo ready; exec cat`)
	command.Stdin = true
	p, err := wsep.Dialer{URL: newRecorder(t, target, fromClient).url}.Start(interopContext(t), command)
	require.NoError(t, err)
	require.Equal(t, "ready", readLine(t, p.Stdout()))
	kill()
	require.ErrorIs(t, p.Wait(), wsep.ErrDisconnected)
	_, err = io.ReadAll(p.Stdout())
	require.ErrorIs(t, err, wsep.ErrDisconnected, "the output is cut short")
}

func testSignalAtV024(t *testing.T, server string) {
	command := wsep.Command{Command: "cat", Stdin: true}
	ctx := interopContext(t)
	p, err := wsep.Dialer{URL: serveV024(t, server).url}.Start(ctx, command)
	require.NoError(t, err)
	require.ErrorIs(t, p.(wsep.Signaler).Signal(ctx, "INT"), errors.ErrUnsupported)
	require.NoError(t, p.Stdin().Close())
	require.NoError(t, p.Wait())
}

func testSecondStartAtV024(t *testing.T, server string) {
	ctx := interopContext(t)
	conn, _, err := websocket.Dial(ctx, serveV024(t, server).url, nil)
	require.NoError(t, err)
	execer := wsep.RemoteExecer(conn)
	p, err := execer.Start(ctx, wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	_, err = execer.Start(ctx, sh(`echo second`))
	require.ErrorIs(t, err, wsep.ErrInUse)
	require.NoError(t, writeStdin(p.Stdin(), exchange{stdin: []byte("first")}))
	require.Equal(t, "first", string(readAll(t, p.Stdout())))
	require.NoError(t, p.Wait())
}

// testUnreadOutputOfV024 checks that output that fits into the buffers need not be read.
func testUnreadOutputOfV024(t *testing.T, server string) {
	p, err := wsep.Dialer{URL: serveV024(t, server).url}.
		Start(interopContext(t), sh(`head -c 1000000 /dev/zero >&2; echo out`))
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	require.Equal(t, "out\n", string(readAll(t, p.Stdout())))
	requireSame(t, make([]byte, 1000000), readAll(t, p.Stderr()))
}

// The client of v0.2.4.

type v024Client struct{ program, url string }

func (c v024Client) run(t *testing.T, x exchange) ending {
	e := c.start(t, x, bytes.NewReader(x.stdin)).wait()
	require.Empty(t, e.stdinErr)
	return e
}

// v024Command is a running client of v0.2.4.
type v024Command struct {
	t              *testing.T
	cmd            *exec.Cmd
	report         string
	stdout, stderr bytes.Buffer
}

// start starts the client with an input of its own, which is the command's if the command has one.
func (c v024Client) start(t *testing.T, x exchange, stdin io.Reader, flags ...string) *v024Command {
	t.Helper()
	run := c.prepare(t, x, flags...)
	run.cmd.Stdin, run.cmd.Stdout = stdin, &run.stdout
	require.NoError(t, run.cmd.Start())
	return run
}

func (c v024Client) prepare(t *testing.T, x exchange, flags ...string) *v024Command {
	run := &v024Command{t: t, report: filepath.Join(t.TempDir(), "report")}
	flags = append(flags, "-url", c.url, "-report", run.report)
	flags = append(flags, x.flags()...)
	flags = append(flags, x.command.Command)
	run.cmd = exec.CommandContext(interopContext(t), c.program, append(flags, x.command.Args...)...)
	run.cmd.Stderr = &run.stderr
	return run
}

// flags returns the exchange as flags of the program.
func (x exchange) flags() (flags []string) {
	set := func(name string, value any) { flags = append(flags, fmt.Sprintf("-%s=%v", name, value)) }
	set("stdin", x.stdin != nil)
	set("keep-stdin", x.keepStdin)
	for i, n := range x.writes {
		if i == 0 {
			set("writes", n)
			continue
		}
		flags[len(flags)-1] += fmt.Sprintf(",%d", n)
	}
	set("tty", x.command.TTY)
	set("size", fmt.Sprintf("%d,%d", x.command.Rows, x.command.Cols))
	set("resize", fmt.Sprintf("%d,%d", x.rows, x.cols))
	for _, kv := range x.command.Env {
		set("env", kv)
	}
	set("dir", x.command.WorkingDir)
	return flags
}

// wait waits for the client and returns what it reports.
func (run *v024Command) wait() ending {
	run.t.Helper()
	require.NoError(run.t, run.cmd.Wait(), "%s", &run.stderr)
	report, err := os.ReadFile(run.report)
	require.NoError(run.t, err)
	var r struct {
		StartError  string `json:"start_error"`
		Pid         int    `json:"pid"`
		WaitError   string `json:"wait_error"`
		ExitCode    *int   `json:"exit_code"`
		StdinError  string `json:"stdin_error"`
		CloseReason string `json:"close_reason"`
	}
	require.NoError(run.t, json.Unmarshal(report, &r))
	if r.StartError != "" {
		// The client gets only the reason in the close frame.
		require.NotEmpty(run.t, r.CloseReason)
		r.StartError = r.CloseReason
	}
	return ending{
		startErr: r.StartError,
		pid:      r.Pid,
		stdout:   run.stdout.Bytes(),
		stderr:   run.stderr.Bytes(),
		stdinErr: r.StdinError,
		waitErr:  r.WaitError,
		exitCode: r.ExitCode,
	}
}

// serveHandler serves with Server.Serve, and passes on the result.
type serveHandler struct {
	execer wsep.Execer
	server wsep.Server
	served chan error // may be nil
}

func (h *serveHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	err = h.server.Serve(r.Context(), conn, h.execer, nil)
	code, reason := wsep.CloseStatus(err)
	_ = conn.Close(websocket.StatusCode(code), reason)
	if h.served != nil {
		h.served <- err
	}
}

// waitErrExecer runs commands locally. Wait returns its error.
type waitErrExecer struct{ err error }

func (e waitErrExecer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p, err := wsep.LocalExecer{}.Start(ctx, c)
	return waitErrProcess{p, e.err}, err
}

type waitErrProcess struct {
	wsep.Process
	err error
}

func (p waitErrProcess) Wait() error {
	_ = p.Process.Wait()
	return p.err
}

// testWaitErrorForV024 checks that a client that only knows exit codes does not take another error for success.
func testWaitErrorForV024(t *testing.T, program string) {
	for name, err := range map[string]error{
		"any":             errors.New("who knows"),
		"disconnected":    fmt.Errorf("inner link: %w", wsep.ErrDisconnected),
		"canceled":        context.Canceled,
		"exit error of 0": wsep.NewExitError(0, "odd"),
		"long":            errors.New(strings.Repeat("ö", 100_000)),
	} {
		t.Run(name, func(t *testing.T) {
			rec := serveOurs(t, &wsep.Handler{Execer: waitErrExecer{err}})
			e := v024Client{program, rec.url}.run(t, exchange{command: sh(`echo out; echo err >&2`)})
			require.Empty(t, e.startErr)
			require.NotEmpty(t, e.waitErr)
			require.Nil(t, e.exitCode, "that is no exit code: %s", e.waitErr)
			require.Equal(t, "out\n", string(e.stdout))
			require.Equal(t, "err\n", string(e.stderr))
		})
	}
}

func testDisconnectOfV024(t *testing.T, program string) {
	for _, tty := range []bool{false, true} {
		for _, way := range []string{"kill", "close"} {
			t.Run(fmt.Sprintf("tty %t/%s", tty, way), func(t *testing.T) {
				handler := &serveHandler{execer: wsep.LocalExecer{}, served: make(chan error, 1)}
				x := exchange{command: sh(`sleep 1000 & echo $$ $!; wait`)}
				x.command.TTY, x.command.Rows, x.command.Cols = tty, 24, 80
				run := v024Client{program, serveOurs(t, handler).url}.prepare(t, x, fmt.Sprintf("-close=%t", way == "close"))
				stdout, err := run.cmd.StdoutPipe()
				require.NoError(t, err)
				require.NoError(t, run.cmd.Start())
				pids := readPids(t, strings.TrimSpace(readLine(t, stdout)))
				if way == "kill" {
					require.NoError(t, run.cmd.Process.Kill())
				}
				requireGone(t, patience, pids)
				err = run.cmd.Wait()
				require.Equal(t, way == "kill", err != nil, "%v", err)
				select {
				case <-handler.served:
				case <-time.After(patience):
					t.Fatal("Serve did not return")
				}
			})
		}
	}
}

func testStreamingStdinOfV024(t *testing.T, program string) {
	rec := serveOurs(t, &wsep.Handler{Execer: wsep.LocalExecer{}})
	for _, script := range []string{
		`exit 7`,
		`exec <&-; sleep 0.05; exit 7`,
		`head -c 1000000 >/dev/null; exit 7`,
	} {
		for range often(5, 70) {
			x := exchange{command: sh(script), stdin: []byte{}}
			v024Client{program, rec.url}.start(t, x, zeroReader{}).wait().requireExitCode(t, 7)
		}
	}
}

// zeroReader is an input that never ends.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// testEndOfFileFromV024 checks that the end of stdin is an end of file on a terminal, and no hang-up.
func testEndOfFileFromV024(t *testing.T, program string) {
	rec := serveOurs(t, &wsep.Handler{Execer: wsep.LocalExecer{}})
	x := exchange{command: sh(`cat; echo done; exit 4`), stdin: []byte("line\n")}
	x.command.TTY, x.command.Rows, x.command.Cols = true, 24, 80
	e := v024Client{program, rec.url}.run(t, x)
	e.requireExitCode(t, 4)
	require.Contains(t, string(e.stdout), "done\r\n")
}

// testPausedV024Client checks that the server keeps a client that pauses. Such a client answers no pings.
func testPausedV024Client(t *testing.T, program string) {
	rec := serveOurs(t, &wsep.Handler{
		Execer: wsep.LocalExecer{},
		// The client has to answer within this time, before and after its pause.
		Options: &wsep.Options{KeepAlive: time.Second},
	})
	stdin, resume := io.Pipe()
	// The command exits after the pings, because this client closes slowly while it has pings to answer.
	x := exchange{command: sh(`head -c 100000 /dev/zero; cat`), stdin: []byte{}}
	run := v024Client{program, rec.url}.start(t, x, stdin, "-pause")
	require.Eventually(t, func() bool {
		return rec.count(fromServer, opPing) >= rec.count(fromClient, opPong)+3
	}, patience, 10*time.Millisecond, "pings go on without an answer")
	require.NoError(t, resume.Close())
	e := run.wait()
	e.requireSuccess(t)
	requireSame(t, make([]byte, 100000), e.stdout)
}

// The programs, the servers, and what all tests use.

// serveV024 starts a server of v0.2.4 behind a recorder.
func serveV024(t *testing.T, program string, flags ...string) *recorder {
	t.Helper()
	url, _ := startV024Server(t, program, flags...)
	return newRecorder(t, url, fromClient)
}

// serveOurs starts a server of this version behind a recorder.
func serveOurs(t *testing.T, handler http.Handler) *recorder {
	t.Helper()
	var serving sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serving.Add(1)
		defer serving.Done()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.Close()
		serving.Wait()
	})
	return newRecorder(t, srv.URL, fromServer)
}

func interopContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// randomBytes returns the same bytes every time.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// requireSame compares checksums, so that a failure does not print the data.
func requireSame(t *testing.T, want, got []byte) {
	t.Helper()
	require.Equal(t, len(want), len(got))
	require.Equal(t, sha256.Sum256(want), sha256.Sum256(got))
}

// recorder is a proxy in front of a server that remembers the WebSocket messages of every connection.
type recorder struct {
	url      string
	target   string
	listener net.Listener
	work     sync.WaitGroup // the listener and the connections

	mu          sync.Mutex // guards what follows
	connections []*recording
}

// recording is all messages of one connection, in the order of each side.
type recording [2][]recorded

type side int

const (
	fromClient side = iota
	fromServer
)

// recorded is a message, or a control frame, without its body.
type recorded struct {
	opcode byte
	flags  byte // the reserved bits, which extensions of WebSocket use
	size   int
	header []byte // up to the delimiter, or all of a control frame
}

// Opcodes of RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// newRecorder starts a recorder in front of the server at the URL. At the end of the test it waits until all connections are
// closed, and checks what this version's side has sent.
func newRecorder(t *testing.T, target string, ours side) *recorder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, host, _ := strings.Cut(target, "://")
	r := &recorder{url: "ws://" + listener.Addr().String(), target: host, listener: listener}
	r.work.Go(r.accept)
	t.Cleanup(func() {
		r.stop(t)
		r.check(t, ours)
	})
	return r
}

func (r *recorder) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.work.Go(func() { r.serve(conn.(*net.TCPConn)) })
	}
}

// stop accepts no more connections, and waits until all are closed.
func (r *recorder) stop(t *testing.T) {
	_ = r.listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.work.Wait()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a connection was left open")
	}
}

func (r *recorder) serve(client *net.TCPConn) {
	defer client.Close()
	conn, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	rec := new(recording)
	r.mu.Lock()
	r.connections = append(r.connections, rec)
	r.mu.Unlock()
	var directions sync.WaitGroup
	directions.Go(func() { r.relay(server, client, &rec[fromClient]) })
	directions.Go(func() { r.relay(client, server, &rec[fromServer]) })
	directions.Wait()
}

// relay carries one direction to its end, and passes the end on.
func (r *recorder) relay(dst, src *net.TCPConn, messages *[]recorded) {
	pr, pw := io.Pipe()
	var parsing sync.WaitGroup
	parsing.Go(func() {
		r.record(bufio.NewReader(pr), messages)
		_, _ = io.Copy(io.Discard, pr)
	})
	_, err := io.Copy(dst, io.TeeReader(src, pw))
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		_ = dst.Close()
		_ = src.Close()
	}
	_ = pw.Close()
	parsing.Wait()
}

// record remembers the messages in a stream of bytes, which begins with the HTTP handshake.
func (r *recorder) record(stream *bufio.Reader, messages *[]recorded) {
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = stream.ReadString('\n'); err != nil {
			return
		}
	}
	for {
		frame, err := readFrame(stream)
		if err != nil {
			return
		}
		r.mu.Lock()
		if last := len(*messages) - 1; frame.opcode == opContinuation && last >= 0 {
			(*messages)[last].size += frame.size
		} else {
			*messages = append(*messages, frame)
		}
		r.mu.Unlock()
	}
}

// readFrame reads a frame in the form of RFC 6455 section 5.2.
func readFrame(stream *bufio.Reader) (recorded, error) {
	var head [2]byte
	if _, err := io.ReadFull(stream, head[:]); err != nil {
		return recorded{}, err
	}
	size := uint64(head[1] & 0x7f)
	extended := make([]byte, map[uint64]int{126: 2, 127: 8}[size])
	if _, err := io.ReadFull(stream, extended); err != nil {
		return recorded{}, err
	}
	switch len(extended) {
	case 2:
		size = uint64(binary.BigEndian.Uint16(extended))
	case 8:
		size = binary.BigEndian.Uint64(extended)
	}
	var mask [4]byte
	if head[1]&0x80 != 0 {
		if _, err := io.ReadFull(stream, mask[:]); err != nil {
			return recorded{}, err
		}
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(stream, payload); err != nil {
		return recorded{}, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	f := recorded{opcode: head[0] & 0x0f, flags: head[0] & 0x70, size: len(payload), header: payload}
	if f.opcode == opBinary {
		header, _, _ := bytes.Cut(payload, []byte{'\n'})
		f.header = bytes.Clone(header)
	}
	return f, nil
}

// count returns how many messages of a kind one side has sent.
func (r *recorder) count(from side, opcode byte) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.connections {
		for _, m := range rec[from] {
			if m.opcode == opcode {
				n++
			}
		}
	}
	return n
}

// closeCodes returns the codes of one side's close frames, when all connections have ended.
func (r *recorder) closeCodes(t *testing.T, from side) (codes []int) {
	r.stop(t)
	for _, rec := range r.connections {
		for _, m := range rec[from] {
			if m.opcode == opClose && m.size >= 2 {
				codes = append(codes, int(binary.BigEndian.Uint16(m.header)))
			}
		}
	}
	return codes
}

// v024Messages are the fields of the messages of v0.2.4, by side and type, in order.
var v024Messages = [2]map[string][]string{
	fromClient: {
		"start":       {"command", "extensions", "id", "type"}, // It ignores the extensions.
		"stdin":       {"type"},
		"close_stdin": {"type"},
		"resize":      {"cols", "rows", "type"},
	},
	fromServer: {
		"pid":       {"pid", "type"},
		"stdout":    {"type"},
		"stderr":    {"type"},
		"exit_code": {"error", "exit_code", "type"},
	},
}

// v024MaxMessage is the size of the largest message that v0.2.4 accepts.
const v024MaxMessage = 64000

// check checks that one side has sent only what v0.2.4 could have sent, and the offer of extensions.
func (r *recorder) check(t *testing.T, ours side) {
	require.NotEmpty(t, r.connections)
	for _, rec := range r.connections {
		require.NotEmpty(t, rec[ours])
		var types []string
		for _, m := range rec[ours] {
			assert.Zero(t, m.flags, "compressed, or otherwise extended")
			switch m.opcode {
			case opBinary:
				assert.LessOrEqual(t, m.size, v024MaxMessage)
				types = append(types, checkHeader(t, m.header, v024Messages[ours]))
			case opClose:
				assert.LessOrEqual(t, m.size, 2+123)
			default:
				assert.Contains(t, []byte{opPing, opPong}, m.opcode)
			}
		}
		checkOrder(t, types)
	}
}

// checkHeader checks the fields of a header and returns its type.
func checkHeader(t *testing.T, header []byte, known map[string][]string) string {
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(header, &fields), "%s", header)
	typ, err := strconv.Unquote(string(fields["type"]))
	require.NoError(t, err, "%s", header)
	require.Contains(t, known, typ)
	delete(fields, "key") // A client that can resume has one.
	assert.Equal(t, known[typ], sortedKeys(fields), "%s", header)
	if typ == "start" {
		var command map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(fields["command"], &command))
		assert.Equal(t, []string{"args", "cols", "command", "env", "gid", "rows", "stdin", "tty", "uid", "working_dir"},
			sortedKeys(command))
	}
	return typ
}

func sortedKeys(m map[string]json.RawMessage) []string {
	return slices.Sorted(maps.Keys(m))
}

// checkOrder checks that start and pid come first and once, and that nothing follows exit_code.
func checkOrder(t *testing.T, types []string) {
	for i, typ := range types {
		first := typ == "start" || typ == "pid"
		assert.Equal(t, i == 0, first, "message %d is %s", i, typ)
		if typ == "exit_code" {
			assert.Equal(t, len(types)-1, i, "messages after exit_code")
		}
	}
}
