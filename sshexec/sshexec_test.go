//go:build !windows

package sshexec

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

// TestNoise has a login's shell that prints text. It must not be in the command's output.
func TestNoise(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	noise := "echo noise; echo more >&2; printf 'wsep-'; head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2\n"
	require.NoError(t, os.WriteFile(filepath.Join(server.Home, ".bashrc"), []byte(noise), 0o600))
	execer := New(server.Dial(t))
	for _, tty := range []bool{false, true} {
		c := sh(`printf out; printf err >&2`)
		c.TTY = tty
		p := start(t, execer, c)
		if tty {
			requireOutput(t, "outerr", p.Stdout())
			continue
		}
		// It must not be in output that is read after the command has exited either.
		require.NoError(t, p.Wait())
		requireOutput(t, "err", p.Stderr())
		requireOutput(t, "out", p.Stdout())
	}
}

func TestOtherUser(t *testing.T) {
	t.Parallel()
	execer := New(sshtest.Start(t).Dial(t))
	for _, c := range []wsep.Command{{Command: "true", UID: 54321}, {Command: "true", GID: 54321}} {
		_, err := execer.Start(t.Context(), c)
		require.ErrorIs(t, err, fs.ErrPermission)
		_, ok := errors.AsType[*wsep.StartError](err)
		require.True(t, ok)
	}
	own := wsep.Command{Command: "true", UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	require.NoError(t, start(t, execer, own).Wait())
}

// TestLostConnection cuts a connection within the data of an output.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	for i := range 6 {
		proxy := sshtest.NewProxy(t, server.Address)
		execer := New(server.DialVia(t, proxy.Address()))
		c := sh(`echo $$; exec cat /dev/zero`)
		c.Stdin, c.TTY = true, i%2 == 1
		p := start(t, execer, c)
		readLine(t, p.Stdout())
		_, err := io.CopyN(io.Discard, p.Stdout(), 3<<20)
		require.NoError(t, err)
		proxy.Cut()
		_, err = io.Copy(io.Discard, p.Stdout())
		require.ErrorIs(t, err, wsep.ErrDisconnected)
		_, err = io.Copy(io.Discard, p.Stderr())
		require.ErrorIs(t, err, wsep.ErrDisconnected)
		requireNoExit(t, p.Wait())
		answers := map[string]error{}
		_, answers["Write"] = p.Stdin().Write([]byte("x"))
		answers["Signal"] = p.(wsep.Signaler).Signal(t.Context(), "INT")
		if c.TTY {
			answers["Resize"] = p.Resize(t.Context(), 30, 90)
		}
		for what, err := range answers {
			require.ErrorIs(t, err, wsep.ErrDisconnected, what)
			require.NotErrorIs(t, err, os.ErrProcessDone, what)
		}
		_, err = execer.Start(t.Context(), wsep.Command{Command: "true"})
		require.ErrorIs(t, err, wsep.ErrDisconnected)
	}
}

// TestLostConnectionEndsCommands checks that the host ends the commands of a lost connection, also those that do not
// use their streams.
func TestLostConnectionEndsCommands(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, server.Address)
	execer := New(server.DialVia(t, proxy.Address()))
	for _, tty := range []bool{false, true} {
		c := sh(`trap "" HUP TERM; echo $$; sleep 60 >/dev/null 2>&1 </dev/null & while :; do sleep 0.1; done`)
		c.TTY = tty
		p := start(t, execer, c)
		require.NotEmpty(t, readLine(t, p.Stdout()))
		defer requireNoProcess(t, p.Pid())
	}
	proxy.Cut()
}

// TestLostConnectionAfterEnd loses the connection after the command has exited. Wait returns the exit code, and the
// output does not end with io.EOF.
func TestLostConnectionAfterEnd(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, server.Address)
	p := start(t, New(server.DialVia(t, proxy.Address())), sh(`sleep 60 & echo out; exit 5`))
	exit, _ := errors.AsType[wsep.ExitError](p.Wait())
	require.Equal(t, 5, exit.ExitCode())
	require.Equal(t, "out", readLine(t, p.Stdout()))
	proxy.Cut()
	_, err := p.Stdout().Read(make([]byte, 1))
	require.ErrorIs(t, err, wsep.ErrDisconnected)
}

// TestHeldOutput closes a process whose output is held by a daemon. The read of the output returns.
func TestHeldOutput(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	p := start(t, New(server.Dial(t)), sh(`setsid sh -c 'echo $$; exec sleep 60' & wait $!; :`))
	daemon := readLine(t, p.Stdout())
	defer func() { require.NoError(t, start(t, wsep.LocalExecer{}, sh("kill "+daemon)).Wait()) }()
	require.NoError(t, start(t, wsep.LocalExecer{}, sh("kill -KILL "+strconv.Itoa(p.Pid()))).Wait())
	exit, _ := errors.AsType[wsep.ExitError](p.Wait())
	require.Equal(t, "KILL", exit.Signal())
	require.NoError(t, p.Close())
	_, err := io.ReadAll(p.Stdout())
	require.ErrorIs(t, err, errDropped)
}

// TestStdinWaits has a long write. It fails when stdin is closed or the command has exited. Early in the write the host
// drops bytes as fast as they come. Late in the write there is no room for more.
func TestStdinWaits(t *testing.T) {
	t.Parallel()
	execer := New(sshtest.Start(t).Dial(t))
	for name, end := range map[string]func(wsep.Process){
		"close": func(p wsep.Process) { _ = p.Stdin().Close() },
		"end":   func(p wsep.Process) { _ = syscall.Kill(p.Pid(), syscall.SIGKILL) },
	} {
		for _, after := range []time.Duration{5 * time.Millisecond, 300 * time.Millisecond} {
			t.Run(name+" after "+after.String(), func(t *testing.T) {
				// Another process holds the session open.
				c := sh(`(trap "" TERM; exec sleep 60) & exec sleep 60`)
				c.Stdin = true
				p := start(t, execer, c)
				failed := make(chan error, 1)
				go func() {
					_, err := p.Stdin().Write(make([]byte, 64<<20))
					failed <- err
				}()
				time.AfterFunc(after, func() { end(p) })
				select {
				case err := <-failed:
					require.Error(t, err)
					require.NotErrorIs(t, err, wsep.ErrDisconnected)
				case <-time.After(testTimeout):
					t.Fatal("Write goes on")
				}
			})
		}
	}
}

// TestStdinOfEnded has a write that waits for room when the command exits and its session is closed.
func TestStdinOfEnded(t *testing.T) {
	t.Parallel()
	execer := New(sshtest.Start(t).Dial(t))
	for range 5 {
		c := sh(`exec sleep 0.2`)
		c.Stdin = true
		p := start(t, execer, c)
		_, err := p.Stdin().Write(make([]byte, 64<<20))
		require.ErrorIs(t, err, os.ErrProcessDone)
		require.NotErrorIs(t, err, wsep.ErrDisconnected)
	}
}

// TestUnnamedSignal has a command killed by a signal without a name in SSH.
func TestUnnamedSignal(t *testing.T) {
	t.Parallel()
	p := start(t, New(sshtest.Start(t).Dial(t)), sh(`kill -s VTALRM $$; sleep 60`))
	exit, ok := errors.AsType[wsep.ExitError](p.Wait())
	require.True(t, ok)
	require.Equal(t, -1, exit.ExitCode())
	require.Empty(t, exit.Signal())
}

// TestEqualsSign has a program with a path that env would take for a variable.
func TestEqualsSign(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a=b")
	require.NoError(t, os.WriteFile(path, []byte("#! /bin/sh\necho $A \"$1\"\n"), 0o700))
	execer := New(sshtest.Start(t).Dial(t))
	c := wsep.Command{Command: path, Args: []string{"two  words"}, Env: []string{"A=variable"}}
	requireOutput(t, "variable two  words\n", start(t, execer, c).Stdout())
}

func TestMissingInterpreter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(path, []byte("#!/no/such/interpreter -x\n"), 0o700))
	_, err := New(sshtest.Start(t).Dial(t)).Start(t.Context(), wsep.Command{Command: path})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestTidy checks that a lost connection leaves nothing on the host.
func TestTidy(t *testing.T) {
	t.Parallel()
	client := sshtest.Start(t).Dial(t)
	execer := newExecer(client, unlimited)
	p := start(t, execer, sh(`sleep 60`))
	dir := execer.guard.warden.dir
	require.DirExists(t, dir)
	require.NoError(t, client.Close())
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, fs.ErrNotExist)
	}, testTimeout, 10*time.Millisecond)
	requireNoProcess(t, p.Pid())
}

// TestTooManySessions reaches OpenSSH's limit for a connection. A Redialer then makes another connection.
func TestTooManySessions(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t, "MaxSessions 3")
	proxy := sshtest.NewProxy(t, server.Address)
	t.Run("New", func(t *testing.T) {
		execer := New(server.Dial(t))
		for range 2 {
			start(t, execer, sh(`sleep 60`))
		}
		_, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
		require.ErrorIs(t, err, wsep.ErrBusy)
	})
	t.Run("Redialer", func(t *testing.T) {
		execer := redialer(t, server, proxy)
		for range 5 {
			start(t, execer, sh(`sleep 60`))
		}
		require.Equal(t, 3, proxy.Count())
	})
	t.Run("none at all", func(t *testing.T) {
		server := sshtest.Start(t, "MaxSessions 1")
		_, err := redialer(t, server, sshtest.NewProxy(t, server.Address)).Start(t.Context(), wsep.Command{Command: "true"})
		require.ErrorIs(t, err, wsep.ErrBusy)
	})
}

// TestRedial starts commands after connections were lost.
func TestRedial(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, server.Address)
	execer := redialer(t, server, proxy)
	for range 3 {
		p := start(t, execer, sh(`sleep 60`))
		proxy.Cut()
		// The connection may not be known to be lost yet.
		requireOutput(t, "again\n", start(t, execer, sh(`echo again`)).Stdout())
		requireNoExit(t, p.Wait())
	}
	require.Equal(t, 4, proxy.Count())
	require.NoError(t, execer.Close())
	_, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorIs(t, err, os.ErrClosed)
}

// TestSilentHost has a host that falls silent after the login, and does not close the connection. It must not be silent
// earlier: on a busy machine the login may take longer than the interval.
func TestSilentHost(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, server.Address)
	execer := Redial(func(context.Context) (*ssh.Client, error) {
		client, err := ssh.Dial("tcp", proxy.Address(), server.ClientConfig())
		proxy.Silence(true)
		return client, err
	})
	defer execer.Close()
	execer.interval = 200 * time.Millisecond
	_, err := execer.Start(t.Context(), sh(`sleep 60`))
	require.ErrorIs(t, err, wsep.ErrDisconnected)
	require.Eventually(t, func() bool {
		execer.mu.Lock()
		defer execer.mu.Unlock()
		return len(execer.connections) == 0
	}, testTimeout, 10*time.Millisecond)
}

func TestDialError(t *testing.T) {
	t.Parallel()
	cause := errors.New("no route")
	execer := Redial(func(context.Context) (*ssh.Client, error) { return nil, cause })
	_, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorIs(t, err, wsep.ErrDisconnected)
	require.ErrorIs(t, err, cause)
}

// TestDialGoesOn has a dial that ignores its context. A Start that waits for it returns when its own context ends or
// the Redialer is closed.
func TestDialGoesOn(t *testing.T) {
	t.Parallel()
	client := sshtest.Fake(t, sshtest.Session{}.Open)
	dialing, goOn := make(chan struct{}), make(chan struct{})
	execer := Redial(func(context.Context) (*ssh.Client, error) {
		close(dialing)
		<-goOn
		return client, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 3)
	begin := func(ctx context.Context) {
		// Ends when Start does. The test waits for that.
		go func() {
			_, err := execer.Start(ctx, wsep.Command{Command: "true"})
			failed <- err
		}()
	}
	requireFailure := func(want error) {
		select {
		case err := <-failed:
			require.ErrorIs(t, err, want)
		case <-time.After(testTimeout):
			t.Fatal("Start goes on")
		}
	}
	begin(ctx)
	<-dialing
	begin(ctx)
	cancel()
	requireFailure(context.Canceled)
	requireFailure(context.Canceled)
	begin(t.Context())
	require.NoError(t, execer.Close())
	requireFailure(os.ErrClosed)
	close(goOn)
	require.Error(t, client.Wait(), "it came too late")
}

// TestCloseWhileDialing checks that Close ends the context of a dial.
func TestCloseWhileDialing(t *testing.T) {
	t.Parallel()
	dialing := make(chan struct{})
	execer := Redial(func(ctx context.Context) (*ssh.Client, error) {
		close(dialing)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	// Ends when the dial has begun.
	go func() {
		<-dialing
		_ = execer.Close()
	}()
	_, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorIs(t, err, os.ErrClosed)
}

// TestSilentCancel cancels a Start and a process of a silent host. All calls return.
func TestSilentCancel(t *testing.T) {
	t.Parallel()
	server := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, server.Address)
	execer := New(server.DialVia(t, proxy.Address()))
	ctx, cancel := context.WithCancel(t.Context())
	p, err := execer.Start(ctx, sh(`sleep 60`))
	require.NoError(t, err)
	proxy.Silence(true)
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = execer.Start(ctx, sh(`sleep 60`))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, p.Wait(), context.Canceled)
	_, err = p.Stdout().Read(make([]byte, 1))
	require.Error(t, err)
}
