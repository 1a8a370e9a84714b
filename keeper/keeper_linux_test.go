package keeper_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cdr.dev/wsep"
	"cdr.dev/wsep/execertest"
	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/streamtest"
	"cdr.dev/wsep/keeper"
)

// longTests says whether tests may take long.
var longTests = os.Getenv("WSEP_LONG_TESTS") != ""

const (
	patience = 20 * time.Second
	// shortIdle is how long keepers live that have nothing to keep, where that matters.
	shortIdle = 200 * time.Millisecond
)

// TestMain makes this program a keeper, or a server, or runs the tests.
func TestMain(m *testing.M) {
	keeper.Main()
	if dir := os.Getenv("WSEP_TEST_DIR"); dir != "" {
		serve(keeper.Execer{Dir: dir, Program: os.Getenv("WSEP_TEST_PROGRAM"), Idle: shortIdle}, os.Getenv("WSEP_TEST_ADDRESS"))
	}
	if socket := os.Getenv("WSEP_TEST_SOCKET"); socket != "" {
		ask(socket)
	}
	leaktest.Main(m)
}

// serve is a server whose commands live in a keeper.
func serve(execer keeper.Execer, address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	_ = http.Serve(listener, &wsep.Handler{Execer: execer})
}

// ask asks a keeper something, and prints the status of the answer.
func ask(socket string) {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	response, err := client.Get("http://localhost/")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(response.StatusCode)
	os.Exit(0)
}

// newDir returns a directory. Its keepers are ended after the test.
func newDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "k")
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, pid := range keepers(dir) {
			_ = syscall.Kill(pid, syscall.SIGTERM)
			requireGone(t, pid)
		}
		require.NoError(t, os.RemoveAll(dir))
	})
	return dir
}

// keepers returns the keepers that live in a directory.
func keepers(dir string) (pids []int) {
	sockets, _ := filepath.Glob(filepath.Join(dir, "keeper-*"))
	for _, socket := range sockets {
		if pid := listener(socket); pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// listener returns the process that listens at a socket, or 0.
func listener(socket string) int {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// alive reports whether a process runs. A zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " Z")
}

func requireGone(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool { return !alive(pid) }, patience, 10*time.Millisecond, "process %d", pid)
	}
}

func sh(script string) wsep.Command {
	return wsep.Command{Command: "sh", Args: []string{"-c", script}, Stdin: true}
}

func start(t *testing.T, execer wsep.Execer, c wsep.Command) (wsep.Process, *bufio.Reader) {
	t.Helper()
	p, err := execer.Start(t.Context(), c)
	require.NoError(t, err)
	return p, bufio.NewReader(p.Stdout())
}

func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

var numbers = regexp.MustCompile(`(\d[\d,]*)\.`)

// readPids reads numbers with commas between them and a full stop behind them. A session's terminal need not have a newline there.
func readPids(t *testing.T, r *bufio.Reader) (pids []int) {
	t.Helper()
	var seen []byte
	for !numbers.Match(seen) {
		b, err := r.ReadByte()
		require.NoError(t, err, "%q", seen)
		seen = append(seen, b)
	}
	for field := range strings.SplitSeq(string(numbers.FindSubmatch(seen)[1]), ",") {
		pid, err := strconv.Atoi(field)
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	return pids
}

// output runs a script and returns its output.
func output(t *testing.T, execer wsep.Execer, script string) string {
	t.Helper()
	p, out := start(t, execer, sh(script))
	all, err := io.ReadAll(out)
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	return strings.TrimSpace(string(all))
}

func TestContract(t *testing.T) {
	execer := keeper.Execer{Dir: newDir(t)}
	execertest.Test(t, func(*testing.T) wsep.Execer { return execer }, nil)
}

func TestContractBehindServer(t *testing.T) {
	if !longTests {
		t.Skip("takes long; TestContract has the keeper, and the root package's tests have gateways")
	}
	s := newServer(t, newDir(t))
	execertest.Test(t, func(*testing.T) wsep.Execer { return wsep.Dialer{URL: s.url()} }, nil)
}

// server is a server in a process of its own, at an address that its successors keep.
type server struct {
	t       *testing.T
	dir     string
	address string
	program string // of its keeper; empty means its own
	cmd     *exec.Cmd
}

func newServer(t *testing.T, dir string) *server { return newServerWith(t, dir, "") }

func newServerWith(t *testing.T, dir, program string) *server {
	s := &server{t: t, dir: dir, address: "127.0.0.1:0", program: program}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.cmd = exec.Command("/proc/self/exe")
	s.cmd.Env = append(os.Environ(), "WSEP_TEST_DIR="+s.dir, "WSEP_TEST_PROGRAM="+s.program, "WSEP_TEST_ADDRESS="+s.address)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, s.cmd.Start())
	s.address = readLine(s.t, bufio.NewReader(out))
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) url() string { return "http://" + s.address }

// TestServerIsKilled kills a server again and again, while 20 processes upload, download and are typed to.
func TestServerIsKilled(t *testing.T) {
	restarts := 3
	if longTests {
		restarts = 20
	}
	s := newServer(t, newDir(t))
	execer := wsep.Dialer{URL: s.url()}
	kinds := []struct {
		command wsep.Command
		work    func(context.Context, wsep.Process) error
	}{{uploading, upload}, {downloading, download}, {typing, type_}}
	going, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for i := range 20 {
		kind := kinds[i%len(kinds)]
		p, err := execer.Start(t.Context(), kind.command)
		require.NoError(t, err)
		workers.Go(func() {
			if err := kind.work(going, p); err != nil {
				t.Errorf("worker %d: %v", i, err)
			}
		})
	}
	for range restarts {
		time.Sleep(500 * time.Millisecond) // Time to get into full flow.
		s.kill()
		s.start()
	}
	stop()
	workers.Wait()
}

var (
	uploading   = sh("sha256sum; echo $$")
	downloading = sh(`
		(i=0; while :; do i=$((i+1)); echo $i; [ $((i%500)) = 0 ] && sleep 0.01; done) &
		child=$!; read -r line; kill $child; wait; echo end $$`)
	typing = inTerminal(sh(`stty -echo -onlcr; echo $$; while read -r line; do [ "$line" = end ] && exit 3; echo "$line"; done`))
)

func inTerminal(c wsep.Command) wsep.Command {
	c.TTY = true
	return c
}

// upload sends bytes until going ends. The process tells their hash, and its ID.
func upload(going context.Context, p wsep.Process) error {
	hash, block := sha256.New(), streamtest.RandomBytes(20_000)
	for going.Err() == nil {
		if _, err := io.MultiWriter(p.Stdin(), hash).Write(block); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond) // The machine has 20 of these to feed.
	}
	if err := p.Stdin().Close(); err != nil {
		return err
	}
	return expect(p, fmt.Sprintf("%x  -\n%d\n", hash.Sum(nil), p.Pid()))
}

// download receives numbers until going ends.
func download(going context.Context, p wsep.Process) error {
	go func() { // Ends with going.
		<-going.Done()
		_, _ = io.WriteString(p.Stdin(), "enough\n")
	}()
	lines := bufio.NewScanner(p.Stdout())
	for want := 1; lines.Scan(); want++ {
		if strings.HasPrefix(lines.Text(), "end") {
			if lines.Text() != fmt.Sprintf("end %d", p.Pid()) {
				return fmt.Errorf("got %q from process %d", lines.Text(), p.Pid())
			}
			return p.Wait()
		}
		if lines.Text() != strconv.Itoa(want) {
			return fmt.Errorf("got %q, want %d", lines.Text(), want)
		}
	}
	return fmt.Errorf("output ended early: %w", errors.Join(lines.Err(), p.Wait()))
}

// type_ types lines into a terminal until going ends, and reads each back.
func type_(going context.Context, p wsep.Process) error {
	lines := bufio.NewScanner(p.Stdout())
	if !lines.Scan() || lines.Text() != strconv.Itoa(p.Pid()) {
		return fmt.Errorf("got %q from process %d: %v", lines.Text(), p.Pid(), lines.Err())
	}
	for n := 0; going.Err() == nil; n++ {
		if _, err := fmt.Fprintf(p.Stdin(), "line %d\n", n); err != nil {
			return err
		}
		if !lines.Scan() || lines.Text() != fmt.Sprintf("line %d", n) {
			return fmt.Errorf("got %q in place of line %d: %v", lines.Text(), n, lines.Err())
		}
		time.Sleep(5 * time.Millisecond) // As above.
	}
	if _, err := io.WriteString(p.Stdin(), "end\n"); err != nil {
		return err
	}
	if exit, _ := errors.AsType[wsep.ExitError](p.Wait()); exit.ExitCode() != 3 {
		return fmt.Errorf("exit code %d", exit.ExitCode())
	}
	return nil
}

func expect(p wsep.Process, want string) error {
	got, err := io.ReadAll(p.Stdout())
	if err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return p.Wait()
}

// TestSessionOutlivesServer: a client attaches again to a session whose server was killed. The shell has its variables.
func TestSessionOutlivesServer(t *testing.T) {
	s := newServer(t, newDir(t))
	c := wsep.Command{ID: "one", Command: "sh", TTY: true, Stdin: true, Env: []string{"PS1=$ "}}
	p, err := wsep.Dialer{URL: s.url(), Resume: -1}.Start(t.Context(), c)
	require.NoError(t, err)
	_, err = io.WriteString(p.Stdin(), "x=remembered; echo s'e't\n")
	require.NoError(t, err)
	waitFor(t, p, "set")
	s.kill()
	require.ErrorIs(t, p.Wait(), wsep.ErrDisconnected)
	s.start()
	p, err = wsep.Dialer{URL: s.url()}.Start(t.Context(), c)
	require.NoError(t, err)
	_, err = io.WriteString(p.Stdin(), "echo =$x=; exit 4\n")
	require.NoError(t, err)
	waitFor(t, p, "=remembered=")
	go io.Copy(io.Discard, p.Stdout()) // Ends with the process.
	exit, _ := errors.AsType[wsep.ExitError](p.Wait())
	require.Equal(t, 4, exit.ExitCode())
}

// waitFor reads until the output has had the text.
func waitFor(t *testing.T, p wsep.Process, text string) {
	t.Helper()
	var seen []byte
	buf := make([]byte, 1<<10)
	for !bytes.Contains(seen, []byte(text)) {
		n, err := p.Stdout().Read(buf)
		require.NoError(t, err, "%q", seen)
		seen = append(seen, buf[:n]...)
	}
}

// TestKeeperIsKilled: every client is told, and nothing is left. That includes what has left its process group, if the watcher
// is there.
func TestKeeperIsKilled(t *testing.T) {
	for name, which := range map[string]func(keeper int) int{
		"keeper":  func(keeper int) int { return keeper },
		"watcher": parentOf,
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			s := newServer(t, dir)
			script := "echo $$.; exec sleep 600"
			if name == "keeper" {
				script = "setsid sleep 600 & echo $$,$!.; exec sleep 600"
			}
			tty := inTerminal(sh(script))
			tty.ID = "one"
			var processes []wsep.Process
			var pids []int
			for execer, c := range map[wsep.Execer]wsep.Command{
				keeper.Execer{Dir: dir}: sh(script), &wsep.Dialer{URL: s.url()}: sh(script), &wsep.Dialer{URL: s.url(), Resume: -1}: tty,
			} {
				p, out := start(t, execer, c)
				processes = append(processes, p)
				pids = append(pids, readPids(t, out)...)
			}
			kept := keepers(dir)
			require.Len(t, kept, 1)
			pids = append(pids, kept[0], parentOf(kept[0]))
			require.NoError(t, syscall.Kill(which(kept[0]), syscall.SIGKILL))
			for _, p := range processes {
				_, err := io.ReadAll(p.Stdout())
				require.ErrorIs(t, err, wsep.ErrDisconnected)
				require.ErrorIs(t, p.Wait(), wsep.ErrDisconnected)
			}
			requireGone(t, pids...)
			require.NotEqual(t, strconv.Itoa(kept[0]), output(t, keeper.Execer{Dir: dir}, "echo $PPID"), "another keeper")
		})
	}
}

func parentOf(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	var state string
	var parent int
	_, _ = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent)
	return parent
}

// TestOneKeeper: many programs start commands at once, and one of them starts the keeper.
func TestOneKeeper(t *testing.T) {
	dir := newDir(t)
	servers := make([]*server, 3)
	for i := range servers {
		servers[i] = newServer(t, dir)
	}
	var starts sync.WaitGroup
	parents := make([]string, 12)
	for i := range parents {
		starts.Go(func() {
			p, err := wsep.Dialer{URL: servers[i%len(servers)].url()}.Start(t.Context(), sh("echo $PPID"))
			if err == nil {
				out, _ := io.ReadAll(p.Stdout())
				parents[i] = string(out)
			}
		})
	}
	starts.Wait()
	for _, parent := range parents {
		require.Equal(t, fmt.Sprintf("%d\n", keepers(dir)[0]), parent)
	}
	require.Len(t, keepers(dir), 1)
}

// TestKeeperIsClean: the keeper has nothing of the server that started it, and its commands have nothing of the keeper.
func TestKeeperIsClean(t *testing.T) {
	inherited, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer inherited.Close()
	_, err = unix.FcntlInt(inherited.Fd(), unix.F_SETFD, 0) // A command gets it.
	require.NoError(t, err)
	execer := keeper.Execer{Dir: newDir(t)}
	require.Empty(t, output(t, execer, "echo $WSEP_KEEPER"))
	wd, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, wd, output(t, execer, "pwd"))
	require.NotContains(t, output(t, execer, "ls -l /proc/self/fd /proc/$PPID/fd"), inherited.Name())
	require.Equal(t, "/", output(t, execer, "readlink /proc/$PPID/cwd"))
	session := output(t, execer, "ps -o sid= -p $PPID")
	require.NotEqual(t, strconv.Itoa(must(unix.Getsid(0))), session)
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	require.Equal(t, fmt.Sprintf("%04o", mask), output(t, execer, "umask"))
}

func must(n int, _ error) int { return n }

// TestIdleKeeperEnds: it ends when it has had nothing to keep, and not before. To count its processes does not keep it.
func TestIdleKeeperEnds(t *testing.T) {
	dir := newDir(t)
	execer := keeper.Execer{Dir: dir, Idle: shortIdle}
	p, out := start(t, execer, sh("echo $PPID.; read line"))
	keeper := readPids(t, out)[0]
	watcher := parentOf(keeper)
	time.Sleep(time.Second) // Several times Idle.
	require.True(t, alive(keeper))
	require.NoError(t, p.Stdin().Close())
	_ = p.Wait()
	require.Eventually(t, func() bool {
		_, err := execer.ProcessCount(t.Context())
		return err == nil && !alive(keeper)
	}, patience, 2*shortIdle)
	requireGone(t, watcher)
	left, err := filepath.Glob(filepath.Join(dir, "*keeper*"))
	require.NoError(t, err)
	require.Empty(t, left)

	// Starts while keepers end.
	for range 10 {
		require.Equal(t, "here", output(t, execer, "echo here"))
		time.Sleep(250 * time.Millisecond) // About Idle.
	}
}

// TestProcessCount counts commands and sessions.
func TestProcessCount(t *testing.T) {
	execer := keeper.Execer{Dir: newDir(t), Idle: shortIdle}
	requireCount := func(want int) {
		t.Helper()
		require.Eventually(t, func() bool {
			n, err := execer.ProcessCount(t.Context())
			return err == nil && n == want
		}, patience, 10*time.Millisecond)
	}
	requireCount(0)
	p, _ := start(t, execer, sh("read line"))
	requireCount(1)
	kept := sh("read line")
	kept.ID, kept.Keep = "kept", time.Hour
	session, _ := start(t, execer, kept)
	requireCount(2)
	require.NoError(t, p.Stdin().Close())
	_ = p.Wait()
	requireCount(1)
	require.NoError(t, execer.CloseSession(t.Context(), "kept", "over"))
	_ = session.Wait()
	requireCount(0)
}

// TestConnectionAtRest: it does not keep the keeper.
func TestConnectionAtRest(t *testing.T) {
	dir := newDir(t)
	p, out := start(t, keeper.Execer{Dir: dir, Idle: shortIdle}, sh("echo $PPID.; read line"))
	keeper := readPids(t, out)[0]
	conn := connect(t, dir)
	defer conn.Close()
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.NoError(t, p.Stdin().Close())
	_ = p.Wait()
	requireGone(t, keeper)
}

// connect connects to the one keeper in a directory. A keeper that tries to end has no socket for a moment.
func connect(t *testing.T, dir string) (conn net.Conn) {
	require.Eventually(t, func() bool {
		sockets, err := filepath.Glob(filepath.Join(dir, "keeper-*"))
		if err != nil || len(sockets) == 0 {
			return false
		}
		conn, err = net.Dial("unix", sockets[0])
		return err == nil
	}, patience, 10*time.Millisecond)
	return conn
}

// TestUpgrade: new commands go to the keeper of the new version. The old one keeps its sessions, and ends after them.
func TestUpgrade(t *testing.T) {
	dir := newDir(t)
	old := keeper.Execer{Dir: dir, Program: version(t, "old"), Idle: shortIdle}
	c := sh("echo $PPID.; read line; echo got $line")
	c.TTY, c.ID = true, "one" // A session.
	p, out := start(t, old, c)
	oldKeeper := readPids(t, out)[0]
	_ = p.Close()

	next := wsep.Dialer{URL: newServerWith(t, dir, version(t, "new")).url()}
	kept, out := start(t, next, sh("echo $PPID.; read line"))
	require.NotEqual(t, oldKeeper, readPids(t, out)[0])
	p, err := next.Start(t.Context(), c)
	require.NoError(t, err)
	waitFor(t, p, strconv.Itoa(oldKeeper))
	sessions, err := old.Sessions(t.Context())
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	require.Equal(t, "one", sessions[0].ID)
	require.ErrorIs(t, old.CloseSession(t.Context(), "two", ""), fs.ErrNotExist)
	_, err = io.WriteString(p.Stdin(), "it\n")
	require.NoError(t, err)
	waitFor(t, p, "got it")
	require.NoError(t, p.Wait())
	requireGone(t, oldKeeper)
	require.NoError(t, kept.Stdin().Close())
	_ = kept.Wait()
}

// version returns a copy of this program that differs from all others.
func version(t *testing.T, name string) string {
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, append(self, name...), 0o700))
	return path
}

// TestProgramIsNoKeeper: the error says so.
func TestProgramIsNoKeeper(t *testing.T) {
	for program, want := range map[string]string{
		"/bin/true":    "main does not call keeper.Main",
		"/nonexistent": "no such file",
	} {
		_, err := keeper.Execer{Dir: newDir(t), Program: program}.Start(t.Context(), sh("true"))
		require.ErrorAs(t, err, new(*wsep.StartError))
		require.ErrorContains(t, err, want)
	}
}

// TestUnsafeDirectory: nothing is started in a directory that others can reach.
func TestUnsafeDirectory(t *testing.T) {
	base := t.TempDir()
	open, file, link := filepath.Join(base, "open"), filepath.Join(base, "file"), filepath.Join(base, "link")
	require.NoError(t, os.Mkdir(open, 0o755))
	require.NoError(t, os.WriteFile(file, nil, 0o700))
	require.NoError(t, os.Symlink(t.TempDir(), link))
	paths := []string{open, file, link}
	if os.Geteuid() == 0 {
		other := filepath.Join(base, "other")
		require.NoError(t, os.Mkdir(other, 0o700))
		require.NoError(t, os.Chown(other, 54321, 54321))
		paths = append(paths, other)
	}
	for _, path := range paths {
		_, err := keeper.Execer{Dir: path}.Start(t.Context(), sh("true"))
		require.ErrorAs(t, err, new(*wsep.StartError), path)
		require.ErrorIs(t, err, fs.ErrPermission, path)
	}
	_, err := keeper.Execer{}.Start(t.Context(), sh("true"))
	require.ErrorAs(t, err, new(*wsep.StartError))
	_, err = keeper.Execer{Dir: filepath.Join(base, strings.Repeat("x", 100))}.Start(t.Context(), sh("true"))
	require.ErrorAs(t, err, new(*wsep.StartError))
}

// TestOtherUser: another user's process gets no answer, even if it can reach the socket.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := newDir(t)
	execer := keeper.Execer{Dir: dir}
	require.Equal(t, "here", output(t, execer, "echo here"))
	sockets, err := filepath.Glob(filepath.Join(dir, "keeper-*"))
	require.NoError(t, err)
	info, err := os.Stat(sockets[0])
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	programs, err := os.MkdirTemp("/tmp", "k") // Other users can reach it.
	require.NoError(t, err)
	defer os.RemoveAll(programs)
	require.NoError(t, os.Chmod(programs, 0o755))
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(programs, "ask"), self, 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chmod(sockets[0], 0o666))
	askAs := func(uid uint32) string {
		cmd := exec.Command(filepath.Join(programs, "ask"))
		cmd.Env = append(os.Environ(), "WSEP_TEST_SOCKET="+sockets[0])
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = "/"
		out, _ := cmd.Output()
		return strings.TrimSpace(string(out))
	}
	require.Equal(t, "426", askAs(0), "an answer of a WebSocket server")
	require.Regexp(t, "^Get .*: ", askAs(54321), "an error, and no answer")
	require.NoError(t, os.Chmod(dir, 0o700))
}
