//go:build linux

package wsep_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cdr.dev/wsep"
)

// needScreen skips the test if screen is not installed. ci/test.sh installs screen, or fails.
func needScreen(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("screen"); err != nil {
		t.Skip("screen is not installed")
	}
}

// withoutScreen returns a PATH with all installed programs except screen.
func withoutScreen(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range filepath.SplitList(os.Getenv("PATH")) {
		programs, _ := filepath.Glob(filepath.Join(path, "*"))
		for _, program := range programs {
			if filepath.Base(program) != "screen" {
				_ = os.Symlink(program, filepath.Join(dir, filepath.Base(program)))
			}
		}
	}
	return dir
}

// sessionServer returns a server that is closed at the test's end, and an Execer that reaches it.
func sessionServer(t testing.TB, opts *wsep.Options) (*wsep.Server, wsep.Dialer) {
	t.Helper()
	return handlerServer(t, &wsep.Handler{Options: opts})
}

// handlerServer is sessionServer for a Handler.
func handlerServer(t testing.TB, h *wsep.Handler) (*wsep.Server, wsep.Dialer) {
	t.Helper()
	return serverIn(t, sessionDir(t), h)
}

// serverIn is handlerServer with sessions in a directory.
func serverIn(t testing.TB, dir string, h *wsep.Handler) (*wsep.Server, wsep.Dialer) {
	t.Helper()
	h.Server = wsep.NewServer()
	if h.Execer == nil {
		h.Execer = wsep.LocalExecer{}
	}
	h.Execer = machine{h.Execer, []string{"TMPDIR=" + dir}}
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	t.Cleanup(h.Server.Close)
	return h.Server, wsep.Dialer{URL: web.URL}
}

// machine is an Execer whose commands have more variables. A PATH among them is also where programs are found. So tests
// with different variables can run at the same time.
type machine struct {
	wsep.Execer
	env []string
}

func localWith(env ...string) machine { return machine{wsep.LocalExecer{}, env} }

// localIn is a LocalExecer with sessions in a directory.
func localIn(dir string) machine { return localWith("TMPDIR=" + dir) }

func (m machine) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	if c.Command != "" && !strings.Contains(c.Command, "/") {
		program, err := m.find(c.Command)
		if err != nil {
			return nil, &wsep.StartError{Err: err}
		}
		c.Command = program
	}
	c.Env = slices.Concat(m.env, c.Env)
	return m.Execer.Start(ctx, c)
}

// find returns the program's path, or its name if the machine has no PATH.
func (m machine) find(name string) (string, error) {
	for _, kv := range m.env {
		path, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			if program, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return program, nil
			}
		}
		return "", exec.ErrNotFound
	}
	return name, nil
}

func (m machine) Unwrap() wsep.Execer { return m.Execer }

// sessionExecer starts a Session for each command, without a Server.
type sessionExecer struct {
	execer wsep.Execer
	opts   *wsep.Options
}

func (e sessionExecer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	return wsep.NewSession(&c, e.execer, e.opts).Attach(ctx)
}

// overKinds runs a test for each kind of session.
func overKinds(t *testing.T, test func(t *testing.T, opts *wsep.Options)) {
	for name, kind := range map[string]wsep.SessionKind{"Screen": wsep.SessionsScreen, "Native": wsep.SessionsNative} {
		t.Run(name, func(t *testing.T) { test(t, &wsep.Options{Sessions: kind}) })
	}
}

// overAll runs a test for each kind of session, with a Session alone, and with a session behind a server.
func overAll(t *testing.T, test func(t *testing.T, execer wsep.Execer)) {
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		t.Run("Session", func(t *testing.T) {
			dir := sessionDir(t)
			test(t, sessionExecer{execer: localIn(dir), opts: opts})
			requireNoFiles(t, dir)
		})
		t.Run("Server", func(t *testing.T) {
			srv, execer := sessionServer(t, opts)
			test(t, execer)
			requireSessions(t, srv, 0)
		})
	})
}

// startScreen starts a command that must start, and watches it.
func startScreen(t testing.TB, execer wsep.Execer, c wsep.Command) (wsep.Process, *screenOf) {
	t.Helper()
	p, err := execer.Start(t.Context(), c)
	require.NoError(t, err)
	return p, watchScreen(t, p)
}

// waitWithin is Wait for a process that must exit within the limit.
func waitWithin(t testing.TB, p wsep.Process, limit time.Duration) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		t.Fatal("the process does not end")
		return nil
	}
}

// requireExit waits for an exit, which must have the code.
func requireExit(t testing.TB, p wsep.Process, code int) {
	t.Helper()
	err := waitWithin(t, p, patience)
	if code == 0 {
		require.NoError(t, err)
		return
	}
	exit, ok := errors.AsType[wsep.ExitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, exit.ExitCode())
}

// requireKilled waits for the exit of a command that a signal has killed. GNU screen gives it an exit code.
func requireKilled(t testing.TB, p wsep.Process, signal syscall.Signal) {
	t.Helper()
	err := waitWithin(t, p, patience)
	exit, ok := errors.AsType[wsep.ExitError](err)
	require.True(t, ok, "%v", err)
	if exit.ExitCode() != 128+int(signal) {
		require.Equal(t, -1, exit.ExitCode())
		require.Equal(t, unix.SignalName(signal), "SIG"+exit.Signal())
	}
}

// requireSessions waits until the server has the number of sessions.
func requireSessions(t testing.TB, srv *wsep.Server, want int) {
	t.Helper()
	require.Eventually(t, func() bool { return srv.SessionCount() == want }, patience, time.Millisecond)
}

// requireNative runs a shell, which must get a session although screen can't keep one, and must leave nothing behind.
func requireNative(t *testing.T, dir string, srv *wsep.Server, execer wsep.Execer, c wsep.Command) {
	t.Helper()
	m := newMark(t)
	p, s := startScreen(t, execer, m.on(c))
	require.Equal(t, "24 80", s.ask(p, "$(stty size)"))
	require.Equal(t, 1, srv.SessionCount())
	require.Empty(t, sessionFiles(t, dir))
	typeLine(t, p, "exit 4")
	s.rest()
	requireExit(t, p, 4)
	requireSessions(t, srv, 0)
	requireNoFiles(t, dir)
	m.requireNone(t, patience)
}

// requireClosed closes the server. That must take some seconds at most. The client must get the reason, and nothing of the
// sessions may be left.
func requireClosed(t *testing.T, dir string, srv *wsep.Server, p wsep.Process, m mark) {
	t.Helper()
	began := time.Now()
	srv.Close()
	require.Less(t, time.Since(began), patience)
	require.ErrorContains(t, waitWithin(t, p, patience), "server is closing")
	require.Empty(t, sessionFiles(t, dir))
	m.requireNone(t, patience)
}

// sessionDir makes a directory for sessions, and fails the test if its sessions leave something there.
func sessionDir(t testing.TB) string {
	t.Helper()
	needScreen(t)
	dir, err := os.MkdirTemp("/tmp", "ws") // The path of a socket must be short.
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o777|os.ModeSticky))
	t.Cleanup(func() {
		require.Empty(t, sessionFiles(t, dir))
		require.NoError(t, os.RemoveAll(dir))
	})
	return dir
}

// sessionFiles returns the directories of all sessions.
func sessionFiles(t testing.TB, dir string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(dir, "wsep-*"))
	require.NoError(t, err)
	return dirs
}

// requireNoFiles waits until no session has files.
func requireNoFiles(t testing.TB, dir string) {
	t.Helper()
	for end := time.Now().Add(patience); len(sessionFiles(t, dir)) > 0; time.Sleep(time.Millisecond) {
		if time.Now().Before(end) {
			continue
		}
		var left []string
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
			left = append(left, path)
			return nil
		})
		t.Fatalf("files are left: %q", left)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func must(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	require.NoError(t, err)
	return path
}

// mark is a variable in the environment of all processes that a test starts.
type mark string

func newMark(t testing.TB) mark {
	return mark(fmt.Sprintf("WSEP_TEST_MARK=%s %d", t.Name(), time.Now().UnixNano()))
}

// on adds the mark to a command.
func (m mark) on(c wsep.Command) wsep.Command {
	c.Env = append(slices.Clip(c.Env), string(m))
	return c
}

// processes returns the running marked processes and their command lines.
func (m mark) processes() map[int]string {
	found := map[int]string{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		environ, _ := os.ReadFile(dir + "/environ")
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if slices.Contains(strings.Split(string(environ), "\x00"), string(m)) && alive(pid) {
			line, _ := os.ReadFile(dir + "/cmdline")
			found[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte(" ")))
		}
	}
	return found
}

// requireNone waits until no marked process runs.
func (m mark) requireNone(t testing.TB, within time.Duration) {
	t.Helper()
	var left map[int]string
	require.Eventually(t, func() bool {
		left = m.processes()
		return len(left) == 0
	}, within, 10*time.Millisecond, "processes are left: %v", &left)
}

// find returns a marked process whose command line has the text.
func (m mark) find(t testing.TB, text string) int {
	t.Helper()
	for pid, line := range m.processes() {
		if strings.Contains(line, text) {
			return pid
		}
	}
	t.Fatalf("no process %q", text)
	return 0
}

// serverProcess runs a server in its own process until the test ends. The variables are added to the environment.
func serverProcess(t *testing.T, env ...string) (*exec.Cmd, wsep.Dialer) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run=^TestServerProcess$")
	cmd.Env = append(os.Environ(), append(env, "WSEP_TEST_SERVER=1")...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	url, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd, wsep.Dialer{URL: strings.TrimSpace(url), Resume: -1}
}

// elsewhere is an Execer for a place that has its own mounts and its own process IDs.
type elsewhere struct{ pid int }

// newElsewhere makes such a place. Its own /tmp is mounted with the options.
func newElsewhere(t *testing.T, options string) elsewhere {
	t.Helper()
	requireRoot(t)
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", "mount -t tmpfs -o "+options+" none /tmp && echo up && exec sleep 1000")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Skip("may not make namespaces")
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.Fields(string(children))[0])
	require.NoError(t, err)
	return elsewhere{pid}
}

// run runs a shell's line in the place, and returns its output.
func (e elsewhere) run(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.Command("nsenter", "-t", fmt.Sprint(e.pid), "--mount", "--pid", "sh", "-c", line)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", line, out)
	return strings.TrimSpace(string(out))
}

// requireNothingLeft requires that no session has files in the place.
func (e elsewhere) requireNothingLeft(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return e.run(t, "ls -d /tmp/wsep-* 2>/dev/null || :") == "" }, patience, 10*time.Millisecond)
}

func (e elsewhere) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	c.Args = slices.Concat([]string{"-t", strconv.Itoa(e.pid), "--mount", "--pid", c.Command}, c.Args)
	c.Command = "nsenter"
	return wsep.LocalExecer{}.Start(ctx, c)
}

const (
	// ignorant ignores HUP, TERM and INT.
	ignorant = `trap "" HUP TERM INT; echo up; while :; do sleep 1000; done`
	// withChildren exits when it is hung up. Its children ignore that.
	withChildren = `(trap "" HUP TERM; sleep 1000) & (trap "" HUP; exec sleep 1000) & echo up; exec cat`
)

// environmentIn returns the variables of a command that is started with some, as the kernel has them.
func environmentIn(t *testing.T, execer wsep.Execer, id string, env []string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "environ")
	p, s := startScreen(t, execer, wsep.Command{
		ID: id, TTY: true, Command: "cp", Args: []string{"/proc/self/environ", file}, Env: env,
	})
	s.rest()
	requireExit(t, p, 0)
	environ, err := os.ReadFile(file)
	require.NoError(t, err)
	got := strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00")
	slices.Sort(got)
	return got
}

// withShell returns a PATH that begins with another sh.
func withShell(t *testing.T, shell string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(must(t, shell), filepath.Join(dir, "sh")))
	return dir + ":" + os.Getenv("PATH")
}

func origin(p wsep.Process) wsep.SessionOrigin { return p.(wsep.Sessioner).Session() }
