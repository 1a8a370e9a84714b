//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// spawned is a program that a script runs in the background. It ends with the script at the latest.
type spawned struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the program has been reaped
	stdin  io.WriteCloser
	// control is the other end of the program's terminal, and the same as stdin. nil without a terminal.
	control *os.File

	mu      sync.Mutex // guards what follows
	output  bytes.Buffer
	changed chan struct{} // closed at the next change of output
	matched int           // bytes of the output that expect has dealt with
}

type spawnedKey struct{}

// theSpawned returns the program that was spawned last.
func theSpawned(ts *testscript.TestScript) *spawned {
	s := *ts.Value(spawnedKey{}).(**spawned)
	if s == nil {
		ts.Fatalf("nothing has been spawned")
	}
	return s
}

func cmdSpawn(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, -1)
	s := &spawned{exited: make(chan struct{}), changed: make(chan struct{})}
	*ts.Value(spawnedKey{}).(**spawned) = s
	ts.Value(lineKey{}).(*line).spawned()
	if args[0] == "-tty" {
		checkUsage(ts, neg, args, 3, -1)
		s.startInTerminal(ts, args[1], args[2:])
		s.expect(ts, `pid=(\d+)\r\n`, "PID")
		s.endWithScript(ts)
	} else {
		s.startWithPipes(ts, args)
		ts.Setenv("PID", strconv.Itoa(s.cmd.Process.Pid))
	}
}

// session is the shell from which a user starts a program in a terminal. It outlives the program, because the end of a session
// resets its terminal. It prints the terminal's modes before and after the program.
const session = `
trap : INT QUIT
stty -g >found
sh -c 'echo pid=$$ && exec "$@"' sh "$@"
code=$?
stty -g >left
exit $code
`

func (s *spawned) startInTerminal(ts *testscript.TestScript, size string, args []string) {
	s.cmd = command(ts, append([]string{"sh", "-c", session, "sh"}, args...))
	control, tty, err := pty.Open()
	ts.Check(err)
	ts.Check(pty.Setsize(control, winsize(ts, size)))
	s.control, s.stdin = control, control
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Defer(func() { _ = control.Close() })
	s.start(ts, control)
	_ = tty.Close()
}

// endWithScript ends a program that holds the terminal after its shell has exited.
func (s *spawned) endWithScript(ts *testscript.TestScript) {
	pid, err := strconv.Atoi(ts.Getenv("PID"))
	ts.Check(err)
	ts.Defer(func() {
		select {
		case <-s.exited:
		default:
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
}

func (s *spawned) startWithPipes(ts *testscript.TestScript, args []string) {
	s.cmd = command(ts, args)
	var err error
	s.stdin, err = s.cmd.StdinPipe()
	ts.Check(err)
	out, err := s.cmd.StdoutPipe()
	ts.Check(err)
	s.cmd.Stderr = s.cmd.Stdout
	s.start(ts, out)
}

// start starts the program and takes its output until it ends, or the script does.
func (s *spawned) start(ts *testscript.TestScript, output io.Reader) {
	ts.Check(s.cmd.Start())
	go func() {
		defer close(s.exited)
		_, _ = io.Copy(s, output)
		_ = s.cmd.Wait()
	}()
	ts.Defer(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
	})
}

// command returns a command in the script's directory and environment.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	path, err := exec.LookPath(args[0]) // testscript.Main has put the programs in our PATH, too.
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TERM", "GORACE", "SSH_AUTH_SOCK", "WSEP_URL", "WSEP_TOKEN_FILE", "XDG_CONFIG_HOME"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

func winsize(ts *testscript.TestScript, size string) *pty.Winsize {
	w := new(pty.Winsize)
	_, err := fmt.Sscanf(size, "%dx%d", &w.Rows, &w.Cols)
	ts.Check(err)
	return w
}

// Write takes the program's output.
func (s *spawned) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.output.Write(p)
}

// match looks for the regexp in the output after the last match. Without a match, changed is closed at the next output.
func (s *spawned) match(re *regexp.Regexp) (groups [][]byte, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.output.Bytes()[s.matched:]
	where := re.FindIndex(rest)
	if where == nil {
		return nil, s.changed
	}
	s.matched += where[1]
	return re.FindSubmatch(rest), nil
}

func (s *spawned) unmatched() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.output.Bytes()[s.matched:])
}

func cmdExpect(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, -1)
	theSpawned(ts).expect(ts, args[0], args[1:]...)
}

// expect waits for a match and sets the variables to its groups.
func (s *spawned) expect(ts *testscript.TestScript, pattern string, names ...string) {
	re, err := regexp.Compile(pattern)
	ts.Check(err)
	deadline := time.After(patience)
	groups, changed := s.match(re)
	for groups == nil {
		select {
		case <-changed:
			groups, changed = s.match(re)
		case <-deadline:
			ts.Fatalf("no match for %q in %q", pattern, s.unmatched())
		}
	}
	for i, name := range names {
		ts.Setenv(name, string(groups[i+1]))
	}
}

func cmdSend(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, 1)
	_, err := theSpawned(ts).stdin.Write(unescape(ts, args[0]))
	ts.Check(err)
}

// unescape interprets \r, \x03 and the like.
func unescape(ts *testscript.TestScript, s string) (b []byte) {
	for s != "" {
		c, _, rest, err := strconv.UnquoteChar(s, 0)
		ts.Check(err)
		b, s = append(b, byte(c)), rest
	}
	return b
}

func cmdCloseStdin(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, 0)
	ts.Check(theSpawned(ts).stdin.Close())
}

func cmdResize(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, 1)
	ts.Check(pty.Setsize(theSpawned(ts).control, winsize(ts, args[0])))
}

func cmdRaw(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, 0)
	s := theSpawned(ts)
	raw := eventually(func() bool {
		cmd := exec.Command("stty", "-a")
		cmd.Stdin = s.control
		settings, err := cmd.Output()
		ts.Check(err)
		return bytes.Contains(settings, []byte("-icanon")) && bytes.Contains(settings, []byte("-echo "))
	})
	if !raw {
		ts.Fatalf("the terminal is not raw after %v", patience)
	}
}

func cmdRestored(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, 0)
	found, left := ts.ReadFile("found"), ts.ReadFile("left")
	if found == "" || found != left {
		ts.Fatalf("the terminal was found as %q and left as %q", found, left)
	}
}

func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, 1)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := theSpawned(ts)
	select {
	case <-s.exited:
	case <-time.After(patience):
		ts.Fatalf("the program has not exited; unmatched output: %q", s.unmatched())
	}
	if code := s.cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("the program ended with %v, want exit code %d; unmatched output: %q",
			s.cmd.ProcessState, want, s.unmatched())
	}
}
