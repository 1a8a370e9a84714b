//go:build !windows

package wsep_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
)

// stubborn prints its own pid and that of a background child. Both ignore SIGTERM.
const stubborn = `trap "" TERM HUP; sleep 1000 & echo $$ $!; while :; do sleep 1000; done`

func TestDisconnectEndsGroup(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	for _, tty := range []bool{false, true} {
		for _, ext := range []string{"", `"extensions":{"window":1048576},`} {
			for _, way := range []string{"close frame", "cut", "cut with full stdin"} {
				if way == "cut with full stdin" && tty {
					continue // A terminal drops what does not fit its line.
				}
				t.Run(fmt.Sprintf("tty %t/extensions %t/%s", tty, ext != "", way), func(t *testing.T) {
					t.Parallel()
					timetest.Within(t, 2*time.Second, func() time.Duration {
						c := dialRaw(t, url)
						c.send(fmt.Sprintf(`{"type":"start",%s"command":{"command":"sh","args":["-c",%q],"tty":%t,"stdin":true}}`,
							ext, stubborn, tty))
						var out string
						for !strings.Contains(out, "\n") {
							m, err := c.read()
							require.NoError(t, err)
							out += m.body
						}
						pids := readPids(t, out)
						if way == "cut with full stdin" {
							fillStdin(c)
						}
						lost := time.Now()
						if way == "close frame" {
							_ = c.conn.Close(1000, "")
						} else {
							_ = c.conn.CloseNow()
						}
						requireGone(t, patience, pids)
						return time.Since(lost)
					})
				})
			}
		}
	}
}

// fillStdin writes stdin that the command does not read, until the buffers on the way or the server's window are full.
func fillStdin(c *rawClient) {
	ctx, cancel := context.WithTimeout(c.ctx, 300*time.Millisecond)
	defer cancel()
	piece := []byte("{\"type\":\"stdin\"}\n" + strings.Repeat("x", 32<<10))
	for range 60 {
		if c.conn.Write(ctx, 2, piece) != nil {
			return
		}
	}
}

func TestCutDuringFullStdinWithoutFlowControl(t *testing.T) {
	t.Parallel()
	url := newServer(t, &wsep.Handler{})
	c := dialRaw(t, url)
	c.send(fmt.Sprintf(`{"type":"start","command":{"command":"sh","args":["-c",%q],"stdin":true}}`, stubborn))
	_, err := c.read()
	require.NoError(t, err)
	m, err := c.read()
	require.NoError(t, err)
	pids := readPids(t, m.body)
	// This is far more than all buffers hold. So the server is not reading when the connection is cut.
	ctx, cancel := context.WithTimeout(c.ctx, time.Second)
	defer cancel()
	piece := []byte("{\"type\":\"stdin\"}\n" + strings.Repeat("x", 60<<10))
	for err == nil {
		err = c.conn.Write(ctx, 2, piece)
	}
	require.Error(t, ctx.Err(), "the write was blocked until its time was up")
	_ = c.conn.CloseNow()
	requireGone(t, patience, pids)
}

func TestWriteBlockedOnStdinDoesNotHoldTheRest(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	p, err := wsep.Dialer{URL: url}.Start(t.Context(), wsep.Command{
		Command: "sh", Args: []string{"-c", `trap "echo int; exit 3" INT; echo ready; while :; do sleep 0.01; done`}, Stdin: true,
	})
	require.NoError(t, err)
	require.Equal(t, "ready", readLine(t, p.Stdout()))
	written := make(chan error, 1)
	go func() {
		_, err := p.Stdin().Write(make([]byte, 64<<20))
		written <- err
	}()
	require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "INT"))
	require.Equal(t, "int", readLine(t, p.Stdout()))
	exit, ok := errors.AsType[wsep.ExitError](p.Wait())
	require.True(t, ok)
	require.Equal(t, 3, exit.ExitCode())
	require.ErrorIs(t, timetest.Receive(t, written), os.ErrProcessDone)
}

func TestWaitDelay(t *testing.T) {
	t.Parallel()
	const held = `sleep 1000 & echo $!`
	start := func(t *testing.T, l wsep.LocalExecer, tty bool) (wsep.Process, int, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		script := held
		if tty {
			script = `trap "" HUP; ` + held
		}
		p, err := l.Start(ctx, wsep.Command{Command: "sh", Args: []string{"-c", script}, TTY: tty})
		require.NoError(t, err)
		pid := readPids(t, readLine(t, p.Stdout()))[0]
		require.NoError(t, p.Wait(), "the command itself has ended")
		return p, pid, cancel
	}
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprintf("bound/tty %t", tty), func(t *testing.T) {
			p, pid, cancel := start(t, wsep.LocalExecer{WaitDelay: 50 * time.Millisecond}, tty)
			_, err := io.ReadAll(p.Stdout())
			require.NoError(t, err)
			require.True(t, alive(pid), "the background child lives on")
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			cancel()
		})
		t.Run(fmt.Sprintf("none/tty %t", tty), func(t *testing.T) {
			p, pid, cancel := start(t, wsep.LocalExecer{}, tty)
			ended := make(chan error, 1)
			go func() {
				_, err := io.ReadAll(p.Stdout())
				ended <- err
			}()
			select {
			case <-ended:
				t.Fatal("the output ended while a process held it")
			case <-time.After(200 * time.Millisecond):
			}
			cancel()
			requireGone(t, patience, []int{pid})
			require.NoError(t, timetest.Receive(t, ended))
		})
	}
}

func TestWaitDelayLosesNothing(t *testing.T) {
	t.Parallel()
	const size = 8000 // A terminal holds as much.
	wrote := strings.Repeat("x", size)
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprintf("nobody reads/tty %t", tty), func(t *testing.T) {
			script := `trap "" HUP; while echo .; do sleep 0.01; done 2>/dev/null & echo $!; printf %s "$1"`
			if tty {
				script = "stty -opost; " + script
			}
			p, err := wsep.LocalExecer{WaitDelay: 50 * time.Millisecond}.Start(t.Context(), wsep.Command{
				Command: "sh", Args: []string{"-c", script, "", wrote}, TTY: tty,
			})
			require.NoError(t, err)
			line := readLine(t, p.Stdout())
			for strings.HasPrefix(line, ".") {
				line = readLine(t, p.Stdout())
			}
			pids := readPids(t, line)
			require.NoError(t, p.Wait())
			requireGone(t, patience, pids) // The next write kills it with SIGPIPE.
			out, err := io.ReadAll(p.Stdout())
			require.NoError(t, err)
			require.Equal(t, wrote, strings.NewReplacer(".", "", "\n", "").Replace(string(out)))
		})
		t.Run(fmt.Sprintf("a slow reader/tty %t", tty), func(t *testing.T) {
			for range 10 {
				p, err := wsep.LocalExecer{WaitDelay: time.Millisecond}.Start(t.Context(), wsep.Command{
					Command: "printf", Args: []string{"%s", wrote}, TTY: tty,
				})
				require.NoError(t, err)
				out, err := io.ReadAll(iotest.OneByteReader(p.Stdout()))
				require.NoError(t, err)
				require.Equal(t, wrote, string(out))
				require.NoError(t, p.Wait())
			}
		})
	}
}

func TestExitCodeDoesNotWaitForOutput(t *testing.T) {
	t.Parallel()
	url := newServer(t, &wsep.Handler{})
	for name, execer := range map[string]wsep.Execer{
		"remote": wsep.Dialer{URL: url},
		"chain":  wsep.Dialer{URL: newServer(t, &wsep.Handler{Execer: wsep.Dialer{URL: url}})},
	} {
		t.Run(name+"/nobody reads", func(t *testing.T) {
			// This is a full window and half a pipe.
			const size = 2<<20 + 32<<10
			p, err := execer.Start(t.Context(), sh(fmt.Sprintf("head -c %d /dev/zero >&2; exit 5", size)))
			require.NoError(t, err)
			require.EqualError(t, p.Wait(), "exit status 5")
			n, err := io.Copy(io.Discard, p.Stderr())
			require.NoError(t, err)
			require.EqualValues(t, size, n, "it is all still there")
			n, err = io.Copy(io.Discard, p.Stdout())
			require.NoError(t, err)
			require.Zero(t, n)
		})
		t.Run(name+"/a background child holds it", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := execer.Start(ctx, sh(`sleep 1000 & echo $!; exit 3`))
			require.NoError(t, err)
			pid := readPids(t, readLine(t, p.Stdout()))[0]
			require.EqualError(t, p.Wait(), "exit status 3")
			require.True(t, alive(pid))
			cancel()
			requireGone(t, patience, []int{pid})
			_, err = io.ReadAll(p.Stdout())
			require.ErrorIs(t, err, wsep.ErrDisconnected, "an output that was cut short does not look complete")
		})
		t.Run(name+"/closed", func(t *testing.T) {
			p, err := execer.Start(t.Context(), sh(`sleep 1000 & echo $!; exit 3`))
			require.NoError(t, err)
			pid := readPids(t, readLine(t, p.Stdout()))[0]
			require.EqualError(t, p.Wait(), "exit status 3")
			require.NoError(t, p.Close())
			requireGone(t, patience, []int{pid})
			require.EqualError(t, p.Wait(), "exit status 3")
		})
	}
}

func TestOutputHeldByAnotherSessionIsLetGo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	// The child leaves the group, so no signal of ours reaches it.
	p, err := wsep.LocalExecer{}.Start(ctx, wsep.Command{
		Command: "sh", Args: []string{"-c", `setsid sleep 1000 & echo $!`},
	})
	require.NoError(t, err)
	pid := readPids(t, readLine(t, p.Stdout()))[0]
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	require.NoError(t, p.Wait())
	cancel()
	began := time.Now()
	_, err = io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Less(t, time.Since(began), patience)
}

func TestCloseLetsGoOfOutputHeldByADaemon(t *testing.T) {
	const daemon = `echo said >&2; setsid sh -c 'echo $$; exec sleep 1000' & `
	for _, tc := range []struct {
		name, script string
		closeBefore  bool
	}{
		{"closed when it has ended", daemon + `exit 3`, false},
		{"and before that", `trap "exit 3" TERM; ` + daemon + `while :; do sleep 0.01; done`, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := wsep.LocalExecer{KillDelay: time.Minute}.Start(t.Context(), sh(tc.script))
			require.NoError(t, err)
			pid := readPids(t, readLine(t, p.Stdout()))[0] // It has left the group.
			defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
			if tc.closeBefore {
				require.NoError(t, p.Close())
			}
			require.EqualError(t, p.Wait(), "exit status 3")
			require.NoError(t, p.Close())
			read := make(chan struct{})
			var out, errOut []byte
			go func() {
				defer close(read)
				out, _ = io.ReadAll(p.Stdout())
				errOut, _ = io.ReadAll(p.Stderr())
			}()
			select {
			case <-read:
			case <-time.After(patience):
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
				require.FailNow(t, "the output is held")
			}
			require.Empty(t, out)
			require.Contains(t, string(errOut), "said\n", "what the command has written is still there")
			require.True(t, alive(pid))
		})
	}
}

func TestDaemonOutlivesItsCommand(t *testing.T) {
	t.Parallel()
	url := newServer(t, &wsep.Handler{})
	p, err := wsep.Dialer{URL: url}.Start(t.Context(), wsep.Command{
		Command: "sh", Args: []string{"-c", `sleep 1000 >/dev/null 2>&1 & echo $!`},
	})
	require.NoError(t, err)
	pid := readPids(t, readLine(t, p.Stdout()))[0]
	require.NoError(t, p.Wait())
	// The server ends the process's context when it is done. KILL would follow after a second.
	time.Sleep(1200 * time.Millisecond)
	require.True(t, alive(pid))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

func TestKillDelay(t *testing.T) {
	t.Run("long", func(t *testing.T) { testKillDelay(t, 100*time.Millisecond) })
	t.Run("over before the first look", func(t *testing.T) { testKillDelay(t, time.Nanosecond) })
}

func testKillDelay(t *testing.T, delay time.Duration) {
	p, err := wsep.LocalExecer{KillDelay: delay}.Start(t.Context(), wsep.Command{
		Command: "sh", Args: []string{"-c", stubborn},
	})
	require.NoError(t, err)
	pids := readPids(t, readLine(t, p.Stdout()))
	began := time.Now()
	require.NoError(t, p.Close())
	exit, ok := errors.AsType[wsep.ExitError](p.Wait())
	require.True(t, ok)
	require.Equal(t, "KILL", exit.Signal())
	require.Greater(t, time.Since(began), delay)
	requireGone(t, patience, pids)
}

func TestCancelAfterCloseForces(t *testing.T) {
	for name, execer := range map[string]wsep.Execer{
		"local":  wsep.LocalExecer{KillDelay: time.Hour},
		"remote": wsep.Dialer{URL: newServer(t, &wsep.Handler{Execer: wsep.LocalExecer{KillDelay: time.Hour}})},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := execer.Start(ctx, wsep.Command{
				Command: "sh", Args: []string{"-c", `trap "echo term" TERM; echo $$; while :; do sleep 0.01; done`},
			})
			require.NoError(t, err)
			pids := readPids(t, readLine(t, p.Stdout()))
			require.NoError(t, p.Close())
			require.Equal(t, "term", readLine(t, p.Stdout()))
			require.True(t, alive(pids[0]))
			cancel()
			requireGone(t, patience, pids)
			require.Error(t, p.Wait())
		})
	}
}

func TestTerminalsLeaveNoDescriptors(t *testing.T) {
	skipIfShort(t)
	runs := often(200, 1000)
	run := func(read bool) {
		p, err := wsep.LocalExecer{}.Start(t.Context(), wsep.Command{
			Command: "echo", Args: []string{"hello"}, TTY: true, Stdin: true,
		})
		require.NoError(t, err)
		if read {
			out, err := io.ReadAll(p.Stdout())
			require.NoError(t, err)
			require.Equal(t, "hello\r\n", string(out))
		}
		require.NoError(t, p.Wait())
		if !read {
			out, err := io.ReadAll(p.Stdout())
			require.NoError(t, err)
			require.Equal(t, "hello\r\n", string(out), "it is still there after Wait")
		}
	}
	run(true)
	before := descriptors(t)
	for i := range runs {
		run(i%2 == 0)
	}
	require.LessOrEqual(t, descriptors(t), before+2)
}

func TestUnreadProcessesLeaveNoDescriptors(t *testing.T) {
	before := descriptors(t)
	for i := range 200 {
		p, err := wsep.LocalExecer{}.Start(t.Context(), wsep.Command{
			Command: "sh", Args: []string{"-c", "echo out; echo err >&2"}, TTY: i%2 == 0,
		})
		require.NoError(t, err)
		require.NoError(t, p.Wait())
	}
	require.LessOrEqual(t, descriptors(t), before+2)
}

// TestWaitClosesDescriptors: after Wait all descriptors are closed, without the garbage collector.
func TestWaitClosesDescriptors(t *testing.T) {
	skipIfShort(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	script := wsep.Command{Command: "sh", Args: []string{"-c", "read line; echo out; echo err >&2"}, Stdin: true}
	onTerminal := script
	onTerminal.TTY = true
	far := wsep.Dialer{URL: serve(t, wsep.LocalExecer{}), MaxIdle: -1}
	for _, tc := range []struct {
		name    string
		execer  wsep.Execer
		command wsep.Command
		reads   bool
		later   bool // The connection is closed after the peer's answer.
	}{
		{"pipes", wsep.LocalExecer{}, script, false, false},
		{"pipes that are read", wsep.LocalExecer{}, script, true, false},
		{"terminal", wsep.LocalExecer{}, onTerminal, false, false},
		{"terminal that is read", wsep.LocalExecer{}, onTerminal, true, false},
		{"connection", far, script, false, true},
		{"connection to a terminal", far, onTerminal, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, late := descriptors(t), 0
			for range often(20, 50) {
				p, err := tc.execer.Start(t.Context(), tc.command)
				require.NoError(t, err)
				if tc.reads {
					go func() { _, _ = io.Copy(io.Discard, p.Stdout()) }()
					go func() { _, _ = io.Copy(io.Discard, p.Stderr()) }()
				}
				_, err = io.WriteString(p.Stdin(), "line\n")
				require.NoError(t, err)
				require.NoError(t, p.Wait())
				if !tc.later && descriptors(t) > before {
					late++
					require.Eventually(t, func() bool { return descriptors(t) <= before }, patience, time.Millisecond)
				}
				_, err = io.WriteString(p.Stdin(), "line\n")
				require.ErrorIs(t, err, os.ErrProcessDone)
				require.NoError(t, p.Stdin().Close())
			}
			require.Eventually(t, func() bool { return descriptors(t) <= before }, patience, time.Millisecond)
			require.LessOrEqual(t, late, 1, "a child that another goroutine has just started may hold the output until its exec")
		})
	}
}

// TestWriteThatWaitsEndsWithItsProcess: a waiting write fails at the exit, even if another process holds the other end.
func TestWriteThatWaitsEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprintf("tty %t", tty), func(t *testing.T) {
			c := sh(`exec 3<&0; sleep 100 <&3 >/dev/null 2>&1 & echo $!; sleep 0.2; exit 5`)
			c.TTY, c.Stdin = tty, true
			p, err := wsep.LocalExecer{}.Start(t.Context(), c)
			require.NoError(t, err)
			pids := readPids(t, strings.TrimSpace(readLine(t, p.Stdout())))
			defer func() { _ = syscall.Kill(pids[0], syscall.SIGKILL) }()
			_, err = io.Copy(p.Stdin(), zeros{})
			require.ErrorIs(t, err, os.ErrProcessDone)
			require.EqualError(t, p.Wait(), "exit status 5")
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestExitCodeArrivesWhileStdinStreams(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	url := newServer(t, &wsep.Handler{})
	for _, tc := range []struct{ name, script string }{
		{"program ignores it", "exit 7"},
		{"program closed it", "exec <&-; exit 7"},
		{"program read some", "head -c 100000 >/dev/null; exit 7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range often(40, 200) {
				p, err := wsep.Dialer{URL: url}.Start(t.Context(), wsep.Command{
					Command: "sh", Args: []string{"-c", tc.script}, Stdin: true,
				})
				require.NoError(t, err)
				stopped := make(chan struct{})
				go func() {
					defer close(stopped)
					_, _ = io.Copy(p.Stdin(), zeros{})
				}()
				err = p.Wait()
				exit, ok := errors.AsType[wsep.ExitError](err)
				require.True(t, ok, "run %d: %v", i, err)
				require.Equal(t, 7, exit.ExitCode())
				timetest.Receive(t, stopped)
			}
		})
	}
}
