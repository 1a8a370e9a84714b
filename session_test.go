//go:build linux

package wsep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
)

// These tests look at processes and files, as Linux shows them.

func TestSessionTellsHowItsCommandEnded(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	m := newMark(t)
	overAll(t, func(t *testing.T, execer wsep.Execer) {
		for text, code := range map[string]int{
			"true":                       0,
			"echo out; exit 0":           0,
			"exit 1":                     1,
			"echo out; exit 9":           9,
			"exit 255":                   255,
			"exec no-such-program":       127,
			"sleep 1000 & echo out":      0,
			"trap 'exit 7' EXIT; exit 1": 7,
		} {
			p, s := startScreen(t, execer, m.on(script("1", text)))
			requireExit(t, p, code)
			out := textOf(s.rest())
			if strings.Contains(text, "echo out") {
				require.Equal(t, "out", out)
			}
		}
		for text, signal := range map[string]syscall.Signal{
			"kill -KILL $$":           syscall.SIGKILL,
			"kill -HUP $$":            syscall.SIGHUP,
			"kill -INT 0; sleep 1000": syscall.SIGINT,
		} {
			p, _ := startScreen(t, execer, m.on(script("1", text)))
			requireKilled(t, p, signal)
		}
		p, err := execer.Start(t.Context(), wsep.Command{ID: "1", Command: "true", TTY: true})
		require.NoError(t, err)
		requireExit(t, p, 0)
	})
	// Background processes are left.
	for pid, line := range m.processes() {
		if line == "sleep 1000 " {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
}

func TestSessionStartErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	require.NoError(t, os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644))
	overAll(t, func(t *testing.T, execer wsep.Execer) {
		for name, tc := range map[string]struct {
			c    wsep.Command
			want error
		}{
			"missing program":       {wsep.Command{Command: "no-such-program"}, exec.ErrNotFound},
			"missing path":          {wsep.Command{Command: "/no/such/program"}, exec.ErrNotFound},
			"missing relative path": {wsep.Command{Command: "./program", WorkingDir: dir}, exec.ErrNotFound},
			"missing option":        {wsep.Command{Command: "-x"}, exec.ErrNotFound},
			"hostile name":          {wsep.Command{Command: "$(touch x); `touch x`\n'\""}, exec.ErrNotFound},
			"no x bit":              {wsep.Command{Command: plain}, fs.ErrPermission},
			"no x bit, relative":    {wsep.Command{Command: "./plain", WorkingDir: dir}, fs.ErrPermission},
			"directory":             {wsep.Command{Command: dir}, fs.ErrPermission},
			"missing directory":     {wsep.Command{Command: "true", WorkingDir: "/no/such/directory"}, fs.ErrNotExist},
			"NUL byte":              {wsep.Command{Command: "a\x00b"}, wsep.ErrInvalidCommand},
		} {
			t.Run(name, func(t *testing.T) {
				began := time.Now()
				c := tc.c
				c.ID, c.TTY = "1", true
				_, err := execer.Start(t.Context(), c)
				require.ErrorIs(t, err, tc.want)
				start, ok := errors.AsType[*wsep.StartError](err)
				require.True(t, ok, "%v", err)
				require.NotEmpty(t, start.Err.Error())
				require.Less(t, time.Since(began), patience)
			})
		}
		require.NoFileExists(t, "x")
	})
}

func TestCommandsThatDieAtOnce(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	overAll(t, func(t *testing.T, execer wsep.Execer) {
		for i := range often(16, 50) {
			c := wsep.Command{ID: "1", Command: "true", TTY: true}
			code := 0
			if i%2 == 1 {
				c, code = script("1", "exit 3"), 3
			}
			p, s := startScreen(t, execer, c)
			requireExit(t, p, code)
			require.Empty(t, textOf(s.rest()))
		}
	})
	t.Run("Together", func(t *testing.T) {
		_, execer := sessionServer(t, nil)
		for range often(5, 10) {
			var clients sync.WaitGroup
			for range 5 {
				clients.Go(func() {
					p, err := execer.Start(t.Context(), wsep.Command{ID: "1", Command: "true", TTY: true})
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, p.Stdout())
					if err := p.Wait(); err != nil {
						t.Error(err)
					}
				})
			}
			clients.Wait()
		}
	})
}

func TestSessionIsGoneSoonAfterItsCommand(t *testing.T) {
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		srv, execer := sessionServer(t, opts)
		file := filepath.Join(t.TempDir(), "ended")
		ends := script("1", fmt.Sprintf("echo out; read x; touch %s", file))
		gone := func() (took time.Duration) {
			t.Helper()
			require.Eventually(t, func() bool { return exists(file) }, patience, time.Millisecond)
			ended := time.Now()
			require.Eventually(t, func() bool { return srv.SessionCount() == 0 }, patience, time.Millisecond)
			require.NoError(t, os.Remove(file))
			return time.Since(ended)
		}

		// With a client.
		timetest.Within(t, time.Second, func() time.Duration {
			p, s := startScreen(t, execer, ends)
			s.waitFor("out")
			typeLine(t, p, "")
			took := gone()
			requireExit(t, p, 0)
			return took
		})

		// Without any.
		end := filepath.Join(t.TempDir(), "end")
		ends.Args[1] = fmt.Sprintf("echo out; until [ -e %s ]; do sleep 0.01; done; rm %s; touch %s", end, end, file)
		timetest.Within(t, time.Second, func() time.Duration {
			p, s := startScreen(t, execer, ends)
			s.waitFor("out")
			require.NoError(t, p.Close())
			require.Error(t, waitWithin(t, p, patience))
			require.Equal(t, 1, srv.SessionCount())
			require.NoError(t, os.WriteFile(end, nil, 0o600))
			return gone()
		})
	})
}

func TestServerClose(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		dir := sessionDir(t)
		closes := func(t *testing.T, commands ...wsep.Command) {
			srv := wsep.NewServer()
			m := newMark(t)
			execer := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: srv, Execer: localIn(dir), Options: opts})}
			var clients []wsep.Process
			for _, c := range commands {
				p, s := startScreen(t, execer, m.on(c))
				s.waitFor("up")
				clients = append(clients, p)
			}
			require.Len(t, srv.Sessions(), len(commands))
			srv.Close()
			require.Zero(t, srv.SessionCount())
			for _, p := range clients {
				err := waitWithin(t, p, patience)
				_, exited := errors.AsType[wsep.ExitError](err)
				require.False(t, exited, "%v", err)
				require.ErrorContains(t, err, "server is closing")
			}
			require.Empty(t, sessionFiles(t, dir))
			m.requireNone(t, patience) // A killed process may take a moment to exit.
		}
		closes(t, script("1", ignorant))
		closes(t,
			bash2("2"), script("3", ignorant), script("4", ignorant), script("5", withChildren), script("6", withChildren),
			script("7", "echo up; exec sh -c '"+ignorant+"'"), script("8", "setsid sh -c : ; echo up; exec cat"))

		// A server that is closed can be used again.
		srv, execer := sessionServer(t, opts)
		srv.Close()
		p, s := startScreen(t, execer, bash("1"))
		s.waitFor("ready> ")
		srv.Close()
		srv.Close()
		require.Error(t, waitWithin(t, p, patience))
	})
}

func TestCloseOfStartingSession(t *testing.T) {
	t.Parallel()
	killed := wsep.LocalExecer{KillDelay: time.Nanosecond}
	t.Run("told to end", func(t *testing.T) { testCloseOfStartingSession(t, wsep.LocalExecer{}, nil, 20) })
	t.Run("killed", func(t *testing.T) { testCloseOfStartingSession(t, killed, nil, 20) })
	native := &wsep.Options{Sessions: wsep.SessionsNative}
	t.Run("native, told to end", func(t *testing.T) { testCloseOfStartingSession(t, wsep.LocalExecer{}, native, 2) })
	t.Run("native, killed", func(t *testing.T) { testCloseOfStartingSession(t, killed, native, 20) })
}

func testCloseOfStartingSession(t *testing.T, local wsep.LocalExecer, opts *wsep.Options, times int) {
	dir := sessionDir(t)
	there := machine{local, []string{"TMPDIR=" + dir}}
	m := newMark(t)
	for i := range often(times, times) {
		srv := wsep.NewServer()
		execer := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: srv, Execer: there, Options: opts})}
		var starting sync.WaitGroup
		starting.Go(func() {
			p, err := execer.Start(t.Context(), m.on(bash("1")))
			if err == nil {
				_, _ = io.Copy(io.Discard, p.Stdout())
				err = p.Wait()
			}
			if err == nil {
				t.Error("a closed session's command did not succeed")
			}
		})
		time.Sleep(time.Duration(i) * 2 * time.Millisecond) // Close it at a different moment each time.
		began := time.Now()
		done := make(chan struct{})
		go func() {
			starting.Wait()
			close(done)
		}()
		// It may be closed before its start.
		for ended := false; !ended; {
			srv.Close()
			select {
			case <-done:
				ended = true
			case <-time.After(10 * time.Millisecond):
			}
		}
		require.Less(t, time.Since(began), patience)
	}
	requireNoFiles(t, dir)
	m.requireNone(t, patience)
}

// TestServerProcess is no test: it is the program that serverProcess runs.
func TestServerProcess(t *testing.T) {
	if os.Getenv("WSEP_TEST_SERVER") == "" {
		return
	}
	var execer wsep.Execer = wsep.LocalExecer{}
	if far := os.Getenv("WSEP_TEST_SERVER_CHAINS_TO"); far != "" {
		execer = wsep.Dialer{URL: far}
	}
	web := httptest.NewServer(&wsep.Handler{Execer: execer})
	fmt.Println(web.URL)
	select {}
}

func TestSessionsOfKilledServer(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	dir := sessionDir(t)
	m := newMark(t)
	server, execer := serverProcess(t, "TMPDIR="+dir)
	for i, c := range []wsep.Command{bash2("1"), script("2", ignorant), script("3", withChildren)} {
		p, s := startScreen(t, execer, m.on(c))
		s.waitFor("up")
		if i == 0 {
			_ = p.Close()
		}
	}
	require.NoError(t, server.Process.Kill())
	_ = server.Wait()
	m.requireNone(t, patience)
	requireNoFiles(t, dir)
}

// kill9Keepers kills all keepers of a server before they notice the server's exit.
func kill9Keepers(t *testing.T, m mark, server *exec.Cmd) {
	t.Helper()
	require.NoError(t, server.Process.Signal(syscall.SIGSTOP))
	for pid, line := range m.processes() {
		if strings.Contains(line, "wsep-keeper") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				require.ErrorIs(t, err, syscall.ESRCH, "a keeper's child may have exited since it was listed")
			}
		}
	}
	require.NoError(t, server.Process.Kill())
	_ = server.Wait()
}

func TestNextServerEndsWhatAKilledOneLeft(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	dir := sessionDir(t)
	// This server lives. One client is attached to it, and another has detached.
	_, living := serverProcess(t, "TMPDIR="+dir)
	others := newMark(t)
	p, s := startScreen(t, living, others.on(bash("1")))
	shell := s.ask(p, "$$")
	q, s2 := startScreen(t, living, others.on(bash("2")))
	shell2 := s2.ask(q, "$$")
	require.NoError(t, q.Close())
	require.Error(t, waitWithin(t, q, patience))
	require.Len(t, sessionFiles(t, dir), 2)

	left := newMark(t)
	server, execer := serverProcess(t, "TMPDIR="+dir)
	for _, c := range []wsep.Command{bash2("1"), script("2", ignorant), script("3", withChildren)} {
		_, s := startScreen(t, execer, left.on(c))
		s.waitFor("up")
	}
	kill9Keepers(t, left, server)
	remains := left.find(t, "SCREEN")
	require.Len(t, sessionFiles(t, dir), 5)

	srv := wsep.NewServer()
	defer srv.Close()
	next := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: srv, Execer: localIn(dir)})}
	mine := newMark(t)
	n, onN := startScreen(t, next, mine.on(bash("1")))
	onN.waitFor("ready> ")
	left.requireNone(t, 2*patience) // They are ended one after the other.
	require.False(t, alive(remains))
	require.Eventually(t, func() bool { return len(sessionFiles(t, dir)) == 3 }, patience, time.Millisecond)

	require.Equal(t, shell, s.ask(p, "$$"))
	q, s2 = startScreen(t, living, others.on(bash("2")))
	require.Equal(t, shell2, s2.ask(q, "$$"))
	for _, c := range []struct {
		p wsep.Process
		s *screenOf
	}{{p, s}, {q, s2}, {n, onN}} {
		typeLine(t, c.p, "exit")
		c.s.rest()
		requireExit(t, c.p, 0)
	}
	requireNoFiles(t, dir)
}

// TestSweepOutlivesItsSession: the next server's first session is done long before the sweep is.
func TestSweepOutlivesItsSession(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	dir := sessionDir(t)
	left := newMark(t)
	server, execer := serverProcess(t, "TMPDIR="+dir)
	for id := range 3 {
		_, s := startScreen(t, execer, left.on(script(fmt.Sprint(id), ignorant)))
		s.waitFor("up")
	}
	kill9Keepers(t, left, server)
	require.Len(t, sessionFiles(t, dir), 3)

	srv := wsep.NewServer()
	defer srv.Close()
	next := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: srv, Execer: localIn(dir)})}
	p, _ := startScreen(t, next, wsep.Command{ID: "1", Command: "true", TTY: true})
	requireExit(t, p, 0)
	left.requireNone(t, 2*patience) // They are ended one after the other.
	requireNoFiles(t, dir)
}

// TestSweepTouchesNobodyElse: other processes have got the numbers of some leftovers. Other files only look like leftovers.
func TestSweepTouchesNobodyElse(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	dir := sessionDir(t)
	m := newMark(t)
	server, execer := serverProcess(t, "TMPDIR="+dir)
	_, s := startScreen(t, execer, m.on(script("1", "echo up; exec cat")))
	s.waitFor("up")
	identity, err := os.ReadFile(filepath.Join(sessionFiles(t, dir)[0], "server"))
	require.NoError(t, err)
	require.NoError(t, server.Process.Kill())
	_ = server.Wait()
	m.requireNone(t, patience)
	requireNoFiles(t, dir)

	// Each of these processes leads a process session, as a session's command does.
	innocent := func() string {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		require.NoError(t, cmd.Start())
		died := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(died)
		}()
		t.Cleanup(func() {
			select {
			case <-died:
				t.Error("an innocent process was killed")
			default:
			}
			_ = cmd.Process.Kill()
			timetest.Receive(t, died)
		})
		return strconv.Itoa(cmd.Process.Pid)
	}
	leftover := func(name string, files map[string]string) string {
		path := filepath.Join(dir, "wsep-"+uuid.NewString())
		t.Log(name, path)
		require.NoError(t, os.MkdirAll(filepath.Join(path, "s"), 0o700))
		for f, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(path, f), []byte(text), 0o600))
		}
		return path
	}
	gone := []string{
		leftover("ended", map[string]string{"server": string(identity), "pid": innocent(), "exit": "0\n", "keeper": innocent()}),
		leftover("killed", map[string]string{"server": string(identity), "pid": innocent(), "keeper": innocent()}),
		leftover("daemon", map[string]string{"server": string(identity), "pid": "", "s/" + innocent() + ".s": ""}),
		leftover("empty", map[string]string{"server": string(identity)}),
		leftover("nonsense", map[string]string{"server": string(identity), "pid": "all", "keeper": "all", "s/all.s": ""}),
	}
	victim := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(victim, "server"), identity, 0o600))
	link := filepath.Join(dir, "wsep-"+uuid.NewString())
	require.NoError(t, os.Symlink(victim, link))
	file := filepath.Join(dir, "wsep-"+uuid.NewString())
	require.NoError(t, os.WriteFile(file, identity, 0o600))
	boot, rest, _ := strings.Cut(string(identity), " ")
	kept := []string{
		filepath.Join(victim, "server"), link, file,
		leftover("other-boot", map[string]string{"server": "x" + boot[1:] + " " + rest, "pid": innocent()}),
		leftover("no-identity", map[string]string{"server": "\n", "pid": innocent()}),
		leftover("no-server", map[string]string{"pid": innocent()}),
	}
	if os.Getuid() == 0 {
		// Root could change another user's files. It must not.
		other := leftover("others", map[string]string{"server": string(identity), "pid": innocent()})
		require.NoError(t, os.Chown(other, 65534, 65534))
		kept = append(kept, other)
	}

	srv := wsep.NewServer()
	next := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: srv, Execer: localIn(dir)})}
	p, s := startScreen(t, next, script("1", "echo up; exec cat"))
	s.waitFor("up")
	for _, path := range gone {
		require.Eventually(t, func() bool { return !exists(path) }, patience, time.Millisecond, path)
	}
	for _, path := range kept {
		require.True(t, exists(path), path)
	}
	srv.Close()
	require.Error(t, waitWithin(t, p, patience))
	for _, path := range kept {
		require.NoError(t, os.RemoveAll(path))
	}
}

func TestSessionFilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := sessionDir(t)
	names := map[string]bool{}
	srv := wsep.NewServer()
	defer srv.Close()
	execer := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: srv, Execer: localIn(dir)})}
	for i := range 3 {
		_, s := startScreen(t, execer, bash(strconv.Itoa(i)))
		s.waitFor("ready> ")
	}
	for _, path := range sessionFiles(t, dir) {
		require.Regexp(t, `/wsep-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, path)
		names[path] = true
		require.NoError(t, filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			require.Zero(t, info.Mode().Perm()&0o077, path)
			require.EqualValues(t, os.Getuid(), info.Sys().(*syscall.Stat_t).Uid)
			return nil
		}))
	}
	require.Len(t, names, 3)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
}

func TestSessionNameTaken(t *testing.T) {
	t.Parallel()
	dir := sessionDir(t)
	victim := t.TempDir()
	keeper, err := os.ReadFile("session_screen.sh")
	require.NoError(t, err)
	for name, take := range map[string]func(path string) error{
		"directory":        func(path string) error { return os.Mkdir(path, 0o777) },
		"file":             func(path string) error { return os.WriteFile(path, nil, 0o666) },
		"symlink":          func(path string) error { return os.Symlink(victim, path) },
		"dangling symlink": func(path string) error { return os.Symlink(victim+"/x", path) },
	} {
		t.Run(name, func(t *testing.T) {
			taken := uuid.NewString()
			for _, base := range []string{dir, "/tmp"} {
				path := filepath.Join(base, "wsep-"+taken)
				require.NoError(t, take(path))
				defer os.RemoveAll(path)
			}
			cmd := exec.Command("sh", "-c", string(keeper), "wsep-keeper", "new", taken, "", "1", "true")
			cmd.Env = append(os.Environ(), "TMPDIR="+dir)
			out, err := cmd.Output()
			require.NoError(t, err)
			require.Regexp(t, "^none .*File exists\n$", string(out))
			left, err := os.ReadDir(victim)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestTemporaryDirectories(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	dir := sessionDir(t)
	srv, execer := serverIn(t, dir, &wsep.Handler{})
	long := filepath.Join(dir, strings.Repeat("l", 200))
	require.NoError(t, os.Mkdir(long, 0o700))
	real := filepath.Join(dir, "real")
	require.NoError(t, os.Mkdir(real, 0o700))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(real, link))
	odd := filepath.Join(dir, `o "$*'d`)
	require.NoError(t, os.Mkdir(odd, 0o700))
	closed := filepath.Join(dir, "closed")
	require.NoError(t, os.Mkdir(closed, 0o555))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	// If TMPDIR is not usable, the directory is in /tmp.
	for name, tmpdir := range map[string]string{
		"long":          long,
		"symlink":       link,
		"relative":      "relative",
		"empty":         "",
		"odd":           odd,
		"with slash":    real + "/",
		"missing":       dir + "/missing",
		"a file":        file,
		"not writable":  "/proc/self", // For root too.
		"no permission": closed,
	} {
		t.Run(name, func(t *testing.T) {
			c := bash(name)
			c.Env = append(c.Env, "TMPDIR="+tmpdir)
			if name == "no permission" && os.Getuid() == 0 {
				c.UID = 65534
				c = inRootDirectory(c)
			}
			p, s := startScreen(t, execer, c)
			shell := s.ask(p, "$$")
			require.NoError(t, p.Close())
			require.Error(t, waitWithin(t, p, patience))
			p, s = startScreen(t, execer, c)
			require.Equal(t, shell, s.ask(p, "$$"))
			require.True(t, srv.CloseSession("", name, "the test is over"))
			require.Error(t, waitWithin(t, p, patience))
		})
	}
	for _, d := range []string{long, real, odd, closed} {
		require.Empty(t, sessionFiles(t, d))
	}
}

func TestSessionOfAnotherUser(t *testing.T) {
	requireRoot(t)
	t.Parallel()
	const nobody = 65534
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		dir := sessionDir(t)
		srv := wsep.NewServer()
		defer srv.Close()
		m := newMark(t)
		execer := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: srv, Execer: localIn(dir), Options: opts})}
		c := inRootDirectory(m.on(bash("1")))
		c.UID = nobody
		p, s := startScreen(t, execer, c)
		require.Equal(t, "65534 65534", s.ask(p, "$(id -u) $(id -G)"))
		shell := s.ask(p, "$$")
		for _, path := range sessionFiles(t, dir) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.EqualValues(t, nobody, info.Sys().(*syscall.Stat_t).Uid)
			require.EqualValues(t, 0o700, info.Mode().Perm())
		}
		for pid, line := range m.processes() {
			info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
			if errors.Is(err, fs.ErrNotExist) {
				continue // A process that the keeper has started may have exited.
			}
			require.NoError(t, err)
			require.EqualValues(t, nobody, info.Sys().(*syscall.Stat_t).Uid, line)
		}

		// Root is another user too.
		for _, other := range [][2]uint32{{0, 0}, {1, 0}, {nobody, 1}, {0, nobody}} {
			stranger := c
			stranger.UID, stranger.GID = other[0], other[1]
			_, err := execer.Start(t.Context(), stranger)
			require.ErrorIs(t, err, fs.ErrPermission)
		}
		require.NoError(t, p.Close())
		require.Error(t, waitWithin(t, p, patience))
		p, s = startScreen(t, execer, c)
		require.Equal(t, shell, s.ask(p, "$$"))

		// The server can end the processes that it has started.
		typeLine(t, p, `trap "" HUP TERM; echo $((40+2)); while :; do sleep 1; done`)
		s.waitFor("42")
		srv.Close()
		require.ErrorContains(t, waitWithin(t, p, patience), "server is closing")
		m.requireNone(t, patience)

		began := time.Now()
		stranger := inRootDirectory(bash("2"))
		stranger.UID = 54321
		_, err := execer.Start(t.Context(), stranger)
		_, ok := errors.AsType[*wsep.StartError](err)
		require.True(t, ok, "%v", err)
		require.Less(t, time.Since(began), patience)
		requireSessions(t, srv, 0)
	})
}

// as returns an Execer whose requests name their user.
func as(execer wsep.Dialer, name string) wsep.Dialer {
	execer.Header = http.Header{"X-Name": {name}}
	return execer
}

// byName is an Authorize hook that believes the name in the request.
func byName(r *http.Request) (string, error) { return r.Header.Get("X-Name"), nil }

// TestSessionBelongsToItsOwner: each owner has IDs of its own. So no owner can attach to another's session, block it, or find
// out that it exists.
func TestSessionBelongsToItsOwner(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		srv, execer := handlerServer(t, &wsep.Handler{Authorize: byName, Options: opts})
		shells := map[string]string{}
		for _, name := range []string{"alice", "bob", "", "alic", "ALICE"} {
			p, s := startScreen(t, as(execer, name), bash("1"))
			shell := s.ask(p, "$$")
			require.Empty(t, shells[shell], name)
			shells[shell] = name
		}
		require.Equal(t, len(shells), srv.SessionCount())
		owners := map[string]bool{}
		for _, info := range srv.Sessions() {
			require.Equal(t, "1", info.ID)
			owners[info.Owner] = true
		}
		require.Len(t, owners, len(shells))

		require.False(t, srv.CloseSession("carol", "1", "it is not hers"))
		require.True(t, srv.CloseSession("bob", "1", "he wants it"))
		require.Equal(t, len(shells)-1, srv.SessionCount())
		for shell, name := range shells {
			p, s := startScreen(t, as(execer, name), bash("1"))
			require.Equal(t, name != "bob", shell == s.ask(p, "$$"), name)
		}
	})
}

func TestAnyStringIsAnID(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		dir := sessionDir(t)
		srv, execer := serverIn(t, dir, &wsep.Handler{Options: opts})
		target := filepath.Join(t.TempDir(), "x")
		ids := []string{
			"../../x", "/etc/passwd", "..", ".", "-X quit", "-x", "--help", "; touch " + target, "$(touch " + target + ")",
			"`touch " + target + "`", "a\nb", "a\r\nb", "a\x00b", "\x00", `'"\`, "*", "%s%n", " ", "s", "1.s",
			strings.Repeat("x", 10_000), "äöü漢字\U0001f642", "\x1b[31m", "1:a:b", "0", "null", "{}",
		}
		shells := map[string]string{}
		for _, id := range ids {
			p, s := startScreen(t, execer, bash(id))
			shells[id] = s.ask(p, "$$")
			require.NoError(t, p.Close())
			require.Error(t, waitWithin(t, p, patience))
		}
		require.Equal(t, len(ids), srv.SessionCount())
		require.Len(t, slices.Compact(slices.Sorted(maps.Values(shells))), len(ids))
		for _, info := range srv.Sessions() {
			require.Contains(t, ids, info.ID)
			p, s := startScreen(t, execer, bash(info.ID))
			require.Equal(t, shells[info.ID], s.ask(p, "$$"))
			require.NoError(t, p.Close())
		}
		require.NoFileExists(t, target)
		for _, path := range sessionFiles(t, dir) {
			require.Len(t, filepath.Base(path), len("wsep-")+36)
		}
		srv.Close()
	})
}

func TestCommandsThatLookLikeOptions(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		dir := t.TempDir()
		there := localWith("PATH=" + dir + ":" + os.Getenv("PATH"))
		_, execer := handlerServer(t, &wsep.Handler{Execer: there, Options: opts})
		for _, name := range []string{"-x", "--", "-c", "-", "a b", "$x", "~"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"ran $#: $*.\"\n"), 0o755))
			for _, c := range []wsep.Command{
				{Command: name},
				{Command: filepath.Join(dir, name)},
				{Command: "./" + name, WorkingDir: dir},
			} {
				c.ID, c.TTY, c.Args = "1", true, []string{"-S", "-X", "", "quit"}
				p, s := startScreen(t, execer, c)
				require.Equal(t, "ran 4: -S -X quit.", textOf(s.rest()), name)
				requireExit(t, p, 0)
			}
		}
	})
}

// fakeScreen returns a directory with a screen that reports a version.
func fakeScreen(t *testing.T, version string) string {
	t.Helper()
	return screenThat(t, version, "exec "+must(t, "screen")+` "$@"`)
}

// screenThat returns a directory with a screen that reports a version, and otherwise runs the script.
func screenThat(t *testing.T, version, script string) string {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\n" +
		"[ \"$1\" = --version ] && { echo \"Screen version " + version + " (build on 2024-08-28 19:58:24)\"; exit; }\n" +
		script + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "screen"), []byte(text), 0o755))
	return dir
}

func TestWithoutFitScreen(t *testing.T) {
	skipIfShort(t)
	needScreen(t)
	t.Parallel()
	for _, tc := range []struct {
		name, path string
		fit        bool
	}{
		{"none", withoutScreen(t), false},
		{"5.0.0", fakeScreen(t, "5.0.0") + ":" + os.Getenv("PATH"), false},
		{"5.0.1", fakeScreen(t, "5.0.1") + ":" + os.Getenv("PATH"), true},
		{"4.09.00", fakeScreen(t, "4.09.00 (GNU) 30-Jan-22") + ":" + os.Getenv("PATH"), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := &wsep.Options{MaxProcesses: 1, Sessions: wsep.SessionsScreen}
			dir := sessionDir(t)
			there := localWith("TMPDIR="+dir, "PATH="+tc.path)
			srv, execer := serverIn(t, dir, &wsep.Handler{Execer: there, Options: opts})
			c := bash("1")
			c.Rows, c.Cols = 30, 100
			var shells []string
			for range often(3, 10) {
				p, s := startScreen(t, execer, c)
				require.Equal(t, "30 100", s.ask(p, "$(stty size)"))
				shells = append(shells, s.ask(p, "$$"))
				if tc.fit {
					require.Equal(t, 1, srv.SessionCount())
				} else {
					requireSessions(t, srv, 0)
					require.Empty(t, sessionFiles(t, dir))
				}
				require.NoError(t, p.Close())
				require.Error(t, waitWithin(t, p, patience))
				s.rest()
			}
			if tc.fit {
				require.Len(t, slices.Compact(shells), 1)
			} else {
				require.Len(t, slices.Compact(shells), len(shells))
			}

			// The same holds for a Session without a Server.
			c.ID = ""
			session := wsep.NewSession(&c, there, opts)
			p, err := session.Attach(t.Context())
			require.NoError(t, err)
			s := watchScreen(t, p)
			s.waitFor("ready> ")
			state, err := session.WaitForState(wsep.StateReady)
			if tc.fit {
				require.EqualValues(t, wsep.StateReady, state)
				require.NoError(t, err)
			} else {
				require.EqualValues(t, wsep.StateDone, state)
				require.ErrorContains(t, err, "no screen")
			}
			typeLine(t, p, "exit 4")
			s.rest()
			requireExit(t, p, 4)
			session.Close("the test is over")
		})
	}
}

// TestScreenThatFails: screen can't keep a session, for several reasons.
func TestScreenThatFails(t *testing.T) {
	skipIfShort(t)
	needScreen(t)
	t.Parallel()
	for how, script := range map[string]string{
		"tells":         "echo no more ptys >&2; exit 1",
		"ends at once":  "exit 0",
		"runs nothing":  "exec " + must(t, "screen") + " $(echo \"$*\" | sed 's/ sh -c .*//') no-such-program",
		"runs no shell": "exec " + must(t, "screen") + " $(echo \"$*\" | sed 's/ sh -c .*//') true",
	} {
		t.Run(how, func(t *testing.T) {
			dir := sessionDir(t)
			there := localWith("TMPDIR="+dir, "PATH="+screenThat(t, "4.09.00", script)+":"+os.Getenv("PATH"))
			srv, execer := serverIn(t, dir, &wsep.Handler{Execer: there})
			requireNative(t, dir, srv, execer, bash("1"))
			session := wsep.NewSession(new(bash("1")), there, &wsep.Options{Sessions: wsep.SessionsScreen})
			state, err := session.WaitForState(wsep.StateReady)
			require.EqualValues(t, wsep.StateDone, state)
			require.ErrorContains(t, err, "no screen to keep the session in")
			if how == "tells" {
				require.ErrorContains(t, err, "no more ptys")
			}
		})
	}
}

// recordingExecer is an Execer that records the commands.
type recordingExecer struct {
	wsep.Execer

	mu      sync.Mutex // guards what follows
	started []wsep.Command
}

func (r *recordingExecer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	r.mu.Lock()
	r.started = append(r.started, c)
	r.mu.Unlock()
	return r.Execer.Start(ctx, c)
}

// TestSessionLivesWhereItsExecerIs: a session lives in a place that its server can't see.
func TestSessionLivesWhereItsExecerIs(t *testing.T) {
	dir := sessionDir(t)
	there := newElsewhere(t, "mode=1777")
	record := &recordingExecer{Execer: there}
	srv := wsep.NewServer()
	execer := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: srv, Execer: record})}
	// The server's own place has no screen.
	screen := os.Getenv("PATH")
	t.Setenv("PATH", withoutScreen(t))
	c := bash("the client's ID")
	c.Env = append(c.Env, "TMPDIR=/tmp", "PATH="+screen)
	p, s := startScreen(t, execer, c)
	shell := s.ask(p, "$$")
	require.Less(t, len(shell), 4, "a small number, in a place with few processes")
	require.Equal(t, "1", s.ask(p, "$(ls -d /tmp/wsep-*/s | wc -l)"))
	require.Empty(t, sessionFiles(t, dir))
	require.NoError(t, p.Close())
	require.Error(t, waitWithin(t, p, patience))
	p, s = startScreen(t, execer, c)
	require.Equal(t, shell, s.ask(p, "$$"))
	typeLine(t, p, "exit 6")
	s.rest()
	requireExit(t, p, 6)
	requireSessions(t, srv, 0)
	requireNone := func() {
		t.Helper()
		p, err := there.Start(t.Context(), wsep.Command{Command: "sh", Args: []string{"-c", "ls -d /tmp/wsep-*"}})
		require.NoError(t, err)
		require.Error(t, waitWithin(t, p, patience))
		// Processes may take a moment to exit.
		require.Eventually(t, func() bool {
			p, err := there.Start(t.Context(), wsep.Command{Command: "pgrep", Args: []string{"-fi", "screen|wsep-keeper"}})
			return err == nil && p.Wait() != nil
		}, patience, 10*time.Millisecond)
	}
	requireNone()

	p, s = startScreen(t, execer, c)
	s.waitFor("ready> ")
	srv.Close()
	require.ErrorContains(t, waitWithin(t, p, patience), "server is closing")
	requireNone()

	for _, c := range record.started {
		require.NotContains(t, c.Args, "join", "the first keeper does all")
		require.Empty(t, c.ID)
		require.Contains(t, []string{"sh", "env"}, c.Command)
		require.NotContains(t, strings.Join(c.Args, " "), "the client's ID")
	}
}

func TestChainReturnsToItsFarEnd(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		far, farExecer := sessionServer(t, opts)
		// The gateway has no programs, and no screen.
		alone := []string{"WSEP_TEST_SERVER_CHAINS_TO=" + farExecer.URL, "PATH=/nonexistent"}
		gateway, execer := serverProcess(t, alone...)
		p, s := startScreen(t, execer, bash("1"))
		shell := s.ask(p, "$$")
		require.Equal(t, "1", far.Sessions()[0].ID)
		require.NoError(t, p.Close())
		require.Error(t, waitWithin(t, p, patience))
		p, s = startScreen(t, execer, bash("1"))
		require.Equal(t, shell, s.ask(p, "$$"))

		// Another gateway takes its place.
		require.NoError(t, gateway.Process.Kill())
		_ = gateway.Wait()
		require.ErrorIs(t, waitWithin(t, p, patience), wsep.ErrDisconnected)
		_, execer = serverProcess(t, alone...)
		p, s = startScreen(t, execer, bash("1"))
		require.Equal(t, shell, s.ask(p, "$$"))

		// This adds one more hop.
		_, longer := serverProcess(t, "WSEP_TEST_SERVER_CHAINS_TO="+execer.URL, "PATH=/nonexistent")
		q, s2 := startScreen(t, longer, bash("1"))
		require.Equal(t, shell, s2.ask(q, "$$"))
		require.Equal(t, 1, far.SessionCount())
		typeLine(t, q, "exit 9")
		s.rest()
		s2.rest()
		requireExit(t, p, 9)
		requireExit(t, q, 9)
		requireSessions(t, far, 0)
	})
}

func TestOwnersOfAGatewayDoNotMeet(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		far, farExecer := sessionServer(t, opts)
		gateway := wsep.NewServer()
		execer := wsep.Dialer{URL: newServer(t, &wsep.Handler{Server: gateway, Execer: farExecer, Authorize: byName})}
		shells := map[string]string{}
		// Each pair is different: owner and ID must not be confused.
		for _, who := range [][2]string{
			{"alice", "1"}, {"bob", "1"}, {"", "1"}, {"alice", "2"}, {"", "5:alice:1"}, {"", "alice:1"}, {"", "0::1"},
			{"5:alice", "1"}, {"alice:1", ""}, {"a", "b:c"}, {"a:b", "c"}, {"", "0::5:alice:1"},
		} {
			if who[1] == "" {
				continue // Without an ID there is no session.
			}
			p, s := startScreen(t, as(execer, who[0]), bash(who[1]))
			shell := s.ask(p, "$$")
			require.Empty(t, shells[shell], "%q", who)
			shells[shell] = fmt.Sprint(who)
			require.NoError(t, p.Close())
			require.Error(t, waitWithin(t, p, patience))
			p, s = startScreen(t, as(execer, who[0]), bash(who[1]))
			require.Equal(t, shell, s.ask(p, "$$"))
			require.NoError(t, p.Close())
		}
		require.Equal(t, len(shells), far.SessionCount())
		require.Zero(t, gateway.SessionCount())
	})
}

func TestSessionsAreListedAndClosed(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		srv, execer := handlerServer(t, &wsep.Handler{Authorize: byName, Options: opts})
		require.Empty(t, srv.Sessions())
		before := time.Now()
		var last wsep.Process
		for i, name := range []string{"alice", "bob"} {
			c := bash(fmt.Sprint("id ", i))
			c.WorkingDir = "/"
			p, s := startScreen(t, as(execer, name), c)
			s.waitFor("ready> ")
			last = p
		}
		p, s := startScreen(t, as(execer, "bob"), func() wsep.Command { c := bash("id 1"); c.WorkingDir = "/usr"; return c }())
		s.waitFor("ready> ")

		infos := srv.Sessions()
		require.Len(t, infos, 2)
		for i, want := range []wsep.SessionInfo{{ID: "id 0", Owner: "alice", Clients: 1}, {ID: "id 1", Owner: "bob", Clients: 2}} {
			got := infos[i]
			require.Equal(t, want.ID, got.ID)
			require.Equal(t, want.Owner, got.Owner)
			require.Equal(t, want.Clients, got.Clients)
			require.EqualValues(t, wsep.StateReady, got.State)
			require.Equal(t, "bash", got.Command.Command)
			require.Equal(t, "/", got.Command.WorkingDir, "as it was started")
			require.WithinRange(t, got.Started, before, time.Now())
		}

		require.False(t, srv.CloseSession("bob", "id 2", "no reason"))
		require.False(t, srv.CloseSession("alice", "id 1", "no reason"))
		require.True(t, srv.CloseSession("bob", "id 1", "the rent is due"))
		for _, p := range []wsep.Process{p, last} {
			require.ErrorContains(t, waitWithin(t, p, patience), "session is closing: the rent is due")
		}
		require.Eventually(t, func() bool { return len(srv.Sessions()) == 1 }, patience, time.Millisecond)
		require.False(t, srv.CloseSession("bob", "id 1", "no reason"))
		require.Equal(t, "id 0", srv.Sessions()[0].ID)
	})
}

// TestScreenThatDoesNotSayItHasFitted has a client whose terminal's size nobody confirms.
func TestScreenThatDoesNotSayItHasFitted(t *testing.T) {
	needScreen(t)
	t.Parallel()
	hangs := `case "$*" in *" -Q "*) exec sleep 1000 ;; esac; exec ` + must(t, "screen") + ` "$@"`
	path := screenThat(t, "4.09.00", hangs) + ":" + os.Getenv("PATH")
	dir := sessionDir(t)
	srv, execer := serverIn(t, dir, &wsep.Handler{Execer: localWith("PATH=" + path)})
	m := newMark(t)
	p, s := startScreen(t, execer, m.on(bash("1")))
	s.waitFor("ready> ")
	_, s2 := startScreen(t, execer, m.on(bash("1")))
	s2.waitFor("ready> ")

	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan error, 1)
	// Ends with the context.
	go func() {
		_, err := execer.Start(ctx, m.on(bash("1")))
		started <- err
	}()
	require.Eventually(t, func() bool {
		for _, line := range m.processes() {
			if line == "sleep 1000 " {
				return true
			}
		}
		return false
	}, patience, time.Millisecond)
	cancel() // Else it would get a new session.
	require.ErrorIs(t, timetest.Receive(t, started), context.Canceled)
	requireClosed(t, dir, srv, p, m)
}

// keeperOf returns the keeper of the only session.
func keeperOf(t *testing.T, dir string) int {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(sessionFiles(t, dir)[0], "keeper"))
		require.NoError(t, err)
		if pid, _ := strconv.Atoi(strings.TrimSpace(string(text))); pid > 1 { // The file may be incomplete.
			return pid
		}
	}
	t.Fatal("no keeper has said who it is") // It never returns 0: a signal to 0 would reach the tests themselves.
	return 0
}

func TestKeeperIsReplaced(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	// The keeper may already have been killed, and not be replaced yet.
	ways := map[string]func(t *testing.T, m mark, keeper int){
		"alone": func(_ *testing.T, _ mark, keeper int) { _ = syscall.Kill(keeper, syscall.SIGKILL) },
		"with its group": func(t *testing.T, _ mark, keeper int) {
			_ = syscall.Kill(-keeper, syscall.SIGKILL)
		},
		"politely": func(t *testing.T, _ mark, keeper int) { _ = syscall.Kill(-keeper, syscall.SIGTERM) },
	}
	replaced := func(t *testing.T, dir string) {
		require.Eventually(t, func() bool { return alive(keeperOf(t, dir)) }, patience, time.Millisecond)
	}
	for way, kill := range ways {
		t.Run(way, func(t *testing.T) {
			dir := sessionDir(t)
			srv, execer := serverIn(t, dir, &wsep.Handler{})
			m := newMark(t)
			p, s := startScreen(t, execer, m.on(bash("1")))
			shell := s.ask(p, "$$")
			for range 3 {
				replaced(t, dir)
				kill(t, m, keeperOf(t, dir))
				require.Equal(t, shell, s.ask(p, "$$"), "the client stays attached")
			}
			// A new keeper carries out orders.
			replaced(t, dir)
			c := m.on(bash("1"))
			c.Rows, c.Cols = 30, 100
			q, s2 := startScreen(t, execer, c)
			require.Equal(t, shell, s2.ask(q, "$$"))
			for s2.ask(q, "$(stty size)") != "30 100" {
				time.Sleep(10 * time.Millisecond) // The new keeper gets the order when it has started.
			}
			require.Equal(t, 1, srv.SessionCount())
			typeLine(t, q, "exit 9")
			s.rest()
			s2.rest()
			requireExit(t, p, 9)
			requireExit(t, q, 9)
			requireSessions(t, srv, 0)
			requireNoFiles(t, dir)
			m.requireNone(t, patience)
		})
		t.Run(way+", and closed", func(t *testing.T) {
			for i := range 3 {
				dir := sessionDir(t)
				srv, execer := serverIn(t, dir, &wsep.Handler{})
				m := newMark(t)
				p, s := startScreen(t, execer, m.on(script("1", ignorant)))
				s.waitFor("up")
				kill(t, m, keeperOf(t, dir))
				time.Sleep(time.Duration(i) * 3 * time.Millisecond) // Close at a different moment each time.
				requireClosed(t, dir, srv, p, m)
			}
		})
	}
}

// watchersOf returns a keeper's watchers, and the processes that they have started.
func watchersOf(t *testing.T, m mark, keeper int) (pids []int) {
	t.Helper()
	for pid, line := range m.processes() {
		if pid != keeper && strings.Contains(line, "wsep-keeper") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestWatcherIsKilled: without its watcher a keeper does not notice its command's exit.
func TestWatcherIsKilled(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	begin := func(t *testing.T) (srv *wsep.Server, execer wsep.Dialer, p wsep.Process, s *screenOf) {
		dir := sessionDir(t)
		srv, execer = serverIn(t, dir, &wsep.Handler{})
		m := newMark(t)
		p, s = startScreen(t, execer, m.on(bash("1")))
		s.ask(p, "$$")
		keeper := keeperOf(t, dir)
		require.Eventually(t, func() bool { return len(watchersOf(t, m, keeper)) == 1 }, patience, time.Millisecond)
		require.NoError(t, syscall.Kill(watchersOf(t, m, keeper)[0], syscall.SIGKILL))
		return srv, execer, p, s
	}
	t.Run("with a client", func(t *testing.T) {
		srv, _, p, s := begin(t)
		typeLine(t, p, "exit 9")
		s.rest()
		requireExit(t, p, 9)
		requireSessions(t, srv, 0)
	})
	t.Run("and the command ends alone", func(t *testing.T) {
		srv, _, p, _ := begin(t)
		typeLine(t, p, "sleep 0.1; exit 9")
		require.NoError(t, p.Close())
		requireSessions(t, srv, 0)
	})
	t.Run("and a client comes", func(t *testing.T) {
		_, execer, p, s := begin(t)
		shell := s.ask(p, "$$")
		require.NoError(t, p.Close())
		require.Error(t, waitWithin(t, p, patience))
		p, s = startScreen(t, execer, bash("1"))
		require.Equal(t, shell, s.ask(p, "$$"))
	})
}

// TestKeeperThatDoesNotRead: a keeper is stopped, and gets more orders than fit into a pipe.
func TestKeeperThatDoesNotRead(t *testing.T) {
	t.Parallel()
	dir := sessionDir(t)
	session := wsep.NewSession(new(bash("1")), localIn(dir), nil)
	defer session.Close("the test is over")
	p, err := session.Attach(t.Context())
	require.NoError(t, err)
	s := watchScreen(t, p)
	shell := s.ask(p, "$$")
	keeper := keeperOf(t, dir)
	require.NoError(t, syscall.Kill(keeper, syscall.SIGSTOP))
	began := time.Now()
	for alive(keeper) {
		require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "CONT"))
		require.Less(t, time.Since(began), 2*patience)
	}
	require.Equal(t, shell, s.ask(p, "$$"))
	typeLine(t, p, "exit 9")
	s.rest()
	requireExit(t, p, 9)
}

// TestKeeperIsReplacedWithoutItsDirectory: the working directory of the command has been removed.
func TestKeeperIsReplacedWithoutItsDirectory(t *testing.T) {
	t.Parallel()
	dir := sessionDir(t)
	srv, execer := serverIn(t, dir, &wsep.Handler{})
	m := newMark(t)
	c := m.on(bash("1"))
	c.WorkingDir = t.TempDir()
	p, s := startScreen(t, execer, c)
	s.waitFor("ready> ")
	require.NoError(t, os.Remove(c.WorkingDir))
	require.NoError(t, syscall.Kill(keeperOf(t, dir), syscall.SIGKILL))
	require.NotEmpty(t, s.ask(p, "$$"))
	typeLine(t, p, "exit 9")
	s.rest()
	requireExit(t, p, 9)
	requireSessions(t, srv, 0)
	requireNoFiles(t, dir)
	m.requireNone(t, patience)
}

// keeperScript is a session's keeper that runs without a server.
type keeperScript struct {
	*exec.Cmd
	orders io.WriteCloser
	words  *os.File
}

func startKeeperScript(t *testing.T, dir, mode, name string, command ...string) keeperScript {
	t.Helper()
	const server, patience = "", "60"
	words, stdout, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = words.Close() })
	cmd := exec.Command("sh", append([]string{"session_screen.sh", mode, name, server, patience}, command...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Stdout = stdout
	orders, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, stdout.Close())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if mode == "new" {
		_, _ = io.WriteString(orders, "\n") // No variables.
	}
	return keeperScript{cmd, orders, words}
}

// says waits until the keeper prints a line with the word.
func (k keeperScript) says(t *testing.T, word string) {
	t.Helper()
	for line := make([]byte, 0, 100); ; line = line[:0] {
		for !bytes.HasSuffix(line, []byte("\n")) {
			var b [1]byte
			_, err := io.ReadFull(k.words, b[:])
			require.NoError(t, err, "waiting for %q", word)
			line = append(line, b[0])
		}
		if said, _, _ := strings.Cut(string(line[:len(line)-1]), " "); said == word {
			return
		}
	}
}

// TestKeeperIsLostAsItTakesOver: a keeper loses its server while it takes over.
func TestKeeperIsLostAsItTakesOver(t *testing.T) {
	t.Parallel()
	dir := sessionDir(t)
	name := uuid.NewString()
	first := startKeeperScript(t, dir, "new", name, "sleep", "100000")
	first.says(t, "started")
	pid := filepath.Join(sessionFiles(t, dir)[0], "pid")
	text, err := os.ReadFile(pid)
	require.NoError(t, err)
	command, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)

	require.NoError(t, first.orders.Close())
	second := startKeeperScript(t, dir, "join", name)
	second.says(t, "dir")
	require.NoError(t, second.words.Close())
	_ = first.Wait() // The second keeper ends it, and goes on although its output is closed.
	require.NoError(t, second.orders.Close())
	// The end would come at once.
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		require.True(t, alive(command), "the session has ended with its second keeper's connection")
	}

	third := startKeeperScript(t, dir, "join", name)
	third.says(t, "started")
	_, err = io.WriteString(third.orders, "quit\nkill\nclean\n")
	require.NoError(t, err)
	require.NoError(t, third.Wait())
	requireGone(t, patience, []int{command}) // A killed process may take a moment to exit.
}

// TestKeeperIsLostAsItStarts: a keeper loses its server before the server knows of the session.
func TestKeeperIsLostAsItStarts(t *testing.T) {
	t.Parallel()
	for _, heard := range []string{"", "dir"} {
		dir := sessionDir(t)
		keeper := startKeeperScript(t, dir, "new", uuid.NewString(), "sleep", "100000")
		if heard != "" {
			keeper.says(t, heard)
		}
		require.NoError(t, keeper.words.Close())
		require.NoError(t, keeper.orders.Close())
		_ = keeper.Wait()
		require.Empty(t, sessionFiles(t, dir))
	}
}

func TestScreenIsStopped(t *testing.T) {
	t.Parallel()
	dir := sessionDir(t)
	srv, execer := serverIn(t, dir, &wsep.Handler{})
	m := newMark(t)
	p, s := startScreen(t, execer, m.on(bash("1")))
	s.waitFor("ready> ")
	require.NoError(t, syscall.Kill(m.find(t, "SCREEN -U"), syscall.SIGSTOP))
	requireClosed(t, dir, srv, p, m)
}

// TestScreenIsKilled: screen is killed, and the commands ignore the hang-up.
func TestScreenIsKilled(t *testing.T) {
	t.Parallel()
	kill := func(t *testing.T, m mark) { require.NoError(t, syscall.Kill(m.find(t, "SCREEN -U"), syscall.SIGKILL)) }
	begin := func(t *testing.T, dir string) (*wsep.Server, wsep.Dialer, mark, wsep.Process) {
		srv, execer := serverIn(t, dir, &wsep.Handler{})
		m := newMark(t)
		p, s := startScreen(t, execer, m.on(script("1", ignorant)))
		s.waitFor("up")
		return srv, execer, m, p
	}
	end := func(t *testing.T, dir string, srv *wsep.Server, m mark) {
		requireSessions(t, srv, 0)
		m.requireNone(t, patience)
		requireNoFiles(t, dir)
	}
	t.Run("with a client", func(t *testing.T) {
		if !longTests {
			t.Skip("takes 15 seconds: an attached screen checks for its session that often")
		}
		dir := sessionDir(t)
		srv, _, m, p := begin(t, dir)
		kill(t, m)
		require.ErrorContains(t, waitWithin(t, p, 20*time.Second), "killed")
		end(t, dir, srv, m)
	})
	t.Run("before a client returns", func(t *testing.T) {
		dir := sessionDir(t)
		srv, execer, m, p := begin(t, dir)
		require.NoError(t, p.Close())
		require.Eventually(t, func() bool { return srv.Sessions()[0].Clients == 0 }, patience, time.Millisecond)
		kill(t, m)
		p, s := startScreen(t, execer, script("1", "echo another; exit 9"))
		s.waitFor("another")
		requireExit(t, p, 9)
		end(t, dir, srv, m)
	})
}

func TestSignalsReachSession(t *testing.T) {
	t.Parallel()
	overAll(t, func(t *testing.T, execer wsep.Execer) {
		p, s := startScreen(t, execer, wsep.Command{
			ID: "1", Command: "bash", TTY: true,
			Args: []string{"-c", `for s in INT TERM USR1 HUP; do trap "echo got $s." $s; done; echo up; while :; do sleep 0.02; done`},
		})
		s.waitFor("up")
		signaler := p.(wsep.Signaler)
		for _, name := range []string{"INT", "TERM", "USR1", "HUP"} {
			require.NoError(t, signaler.Signal(t.Context(), name))
			s.waitFor("got " + name + ".")
		}
		require.NoError(t, signaler.Signal(t.Context(), "KILL"))
		requireKilled(t, p, syscall.SIGKILL)
	})
	t.Run("Hostile", func(t *testing.T) {
		dir := sessionDir(t)
		session := wsep.NewSession(new(bash("1")), localIn(dir), nil)
		defer session.Close("the test is over")
		p, err := session.Attach(t.Context())
		require.NoError(t, err)
		s := watchScreen(t, p)
		for _, name := range []string{"", "9", "-9", "INT; touch x", "INT\nquit", "KILL -1", "$(touch x)", strings.Repeat("A", 1000)} {
			require.ErrorIs(t, p.(wsep.Signaler).Signal(t.Context(), name), errors.ErrUnsupported, name)
		}
		require.NotEmpty(t, s.ask(p, "$$"))
		require.NoFileExists(t, "x")
		require.Len(t, sessionFiles(t, dir), 1)
	})
}

// TestShortTimeout: sessions close as soon as their client detaches, and clients return at that moment.
func TestShortTimeout(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		for _, timeout := range []time.Duration{1, time.Millisecond, 10 * time.Millisecond} {
			dir := sessionDir(t)
			opts := &wsep.Options{SessionTimeout: timeout, Sessions: opts.Sessions}
			srv, execer := serverIn(t, dir, &wsep.Handler{Options: opts})
			for range 20 {
				p, s := startScreen(t, execer, bash("1"))
				s.waitFor("ready> ")
				require.NoError(t, p.Close())
				require.Error(t, waitWithin(t, p, patience))
			}
			requireSessions(t, srv, 0)
			requireNoFiles(t, dir)
		}
	})
}

// benchmarkAttach measures the time until the shell's prompt is shown. Each round begins with prepare.
func benchmarkAttach(b *testing.B, execer wsep.Execer, prepare func(id string)) {
	id := 0
	for b.Loop() {
		b.StopTimer()
		id++
		c := bash(strconv.Itoa(id))
		if prepare != nil {
			prepare(c.ID)
		}
		b.StartTimer()
		p, err := execer.Start(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		awaitPrompt(b, p)
		b.StopTimer()
		// The shell exits, so that all rounds do the same work.
		_, _ = io.WriteString(p.Stdin(), "exit\n")
		_, _ = io.Copy(io.Discard, p.Stdout())
		if err := p.Wait(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func awaitPrompt(b *testing.B, p wsep.Process) {
	var shown []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(shown, []byte("ready>")) {
		n, err := p.Stdout().Read(buf)
		shown = append(shown, buf[:n]...)
		if err != nil {
			b.Fatalf("%v: %q", err, shown)
		}
	}
}

// sessionsByID is an Execer that keeps sessions by ID, without a server.
type sessionsByID struct {
	local wsep.Execer

	mu       sync.Mutex // guards what follows
	sessions map[string]*wsep.Session
}

func (e *sessionsByID) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[c.ID]
	if s == nil {
		s = wsep.NewSession(&c, e.local, nil)
		e.sessions[c.ID] = s
	}
	return s.Attach(ctx)
}

func overBothForBenchmark(b *testing.B, bench func(b *testing.B, execer wsep.Execer)) {
	b.Run("Session", func(b *testing.B) {
		execer := &sessionsByID{local: localIn(sessionDir(b)), sessions: map[string]*wsep.Session{}}
		bench(b, execer)
		for _, s := range execer.sessions {
			s.Close("the benchmark is over")
		}
	})
	b.Run("Server", func(b *testing.B) {
		_, execer := sessionServer(b, nil)
		bench(b, execer)
	})
}

// BenchmarkSessionFirstAttach measures a start of a new session up to the shell's prompt.
func BenchmarkSessionFirstAttach(b *testing.B) {
	overBothForBenchmark(b, func(b *testing.B, execer wsep.Execer) { benchmarkAttach(b, execer, nil) })
}

// BenchmarkSessionReturn measures the return to a session, some time after its client has detached, and at once after its
// client was cut off.
func BenchmarkSessionReturn(b *testing.B) {
	leave := func(b *testing.B, execer wsep.Execer, pause bool) func(id string) {
		return func(id string) {
			ctx, cancel := context.WithCancel(b.Context())
			p, err := execer.Start(ctx, bash(id))
			if err != nil {
				b.Fatal(err)
			}
			awaitPrompt(b, p)
			cancel()
			if pause {
				_ = p.Wait()
				time.Sleep(50 * time.Millisecond) // Screen is busy right after a detach.
			}
		}
	}
	for name, pause := range map[string]bool{"Later": true, "AtOnce": false} {
		b.Run(name, func(b *testing.B) {
			overBothForBenchmark(b, func(b *testing.B, execer wsep.Execer) {
				benchmarkAttach(b, execer, leave(b, execer, pause))
			})
		})
	}
}
