package daemon

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/streamtest"
)

// section returns the commands of a section of README, in its order.
func section(t *testing.T, title string) (commands []string) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\n## "+title+"\n")
	require.True(t, found)
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(rest, -1) {
		commands = append(commands, strings.TrimSpace(block[1]))
	}
	return commands
}

// reader has a shell, and gives README's commands in it. The addresses are of another machine than README's, so that nothing else
// listens there.
type reader struct {
	*machines
	bin string
}

func newReader(m *machines) *reader {
	r := &reader{m, filepath.Join(m.dir, "bin")}
	self, err := os.Executable()
	require.NoError(m.t, err)
	require.NoError(m.t, os.Mkdir(r.bin, 0o700))
	for _, program := range []string{"wsepd", "wsep"} {
		script := fmt.Sprintf("#!/bin/sh\nexport %s=%s\nexec %s \"$@\"\n", runAs, program, self)
		require.NoError(m.t, os.WriteFile(filepath.Join(r.bin, program), []byte(script), 0o700))
	}
	return r
}

// command returns one of README's commands.
func (r *reader) command(text string) *exec.Cmd {
	cmd := exec.Command("bash", "-c", "exec "+strings.ReplaceAll(text, "127.0.0.1", r.host))
	cmd.Env = append(os.Environ(), "PATH="+r.bin+":"+os.Getenv("PATH"), "XDG_STATE_HOME="+r.dir, "PS1=$ ")
	return cmd
}

// terminal is a terminal in which a command runs.
type terminal struct {
	t    testing.TB
	file *os.File
	cmd  *exec.Cmd
	out  *streamtest.Buffer
	done chan struct{} // closed when the command has ended and all is read
}

func (r *reader) open(text string) *terminal {
	r.t.Helper()
	term := &terminal{t: r.t, cmd: r.command(text), out: &streamtest.Buffer{}, done: make(chan struct{})}
	file, err := pty.Start(term.cmd)
	require.NoError(r.t, err)
	term.file = file
	go func() { // Ends when the command does: the test's end kills it.
		_, _ = io.Copy(term.out, file)
		_ = term.cmd.Wait()
		close(term.done)
	}()
	r.t.Cleanup(func() {
		_ = term.cmd.Process.Kill()
		<-term.done
		_ = file.Close()
	})
	return term
}

func (term *terminal) typed(keys string) {
	_, err := io.WriteString(term.file, keys)
	require.NoError(term.t, err)
}

// await waits until the terminal shows what matches, and returns the first group.
func (term *terminal) await(pattern string) (group string) {
	term.t.Helper()
	re := regexp.MustCompile(pattern)
	require.Eventually(term.t, func() bool {
		match := re.FindStringSubmatch(term.out.String())
		if match != nil {
			group = match[1]
		}
		return match != nil
	}, patience, 10*time.Millisecond, "%s", term.out)
	return group
}

func (term *terminal) awaitEnd() {
	term.t.Helper()
	select {
	case <-term.done:
	case <-time.After(patience):
		term.t.Fatalf("the command does not end; the terminal shows:\n%s", term.out)
	}
}

var shellPID = regexp.MustCompile(`shell=(\d+)\.`)

// pid gives a command that leads to a shell, asks the shell who it is, and leaves it. It tries again while the fleet says that the shell can't
// be reached now, as on a busy machine.
func (r *reader) pid(text string) string {
	r.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		term := r.open(text)
		term.typed("echo shell=$$.\r")
		if pid := term.firstOf(shellPID); pid != "" {
			term.typed("\r~.")
			term.awaitEnd()
			return pid
		}
	}
	r.t.Fatalf("there is no shell: %s", text)
	return ""
}

// firstOf waits until the terminal shows what matches, or its command has ended.
func (term *terminal) firstOf(re *regexp.Regexp) (group string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if match := re.FindStringSubmatch(term.out.String()); match != nil {
			return match[1]
		}
		select {
		case <-term.done:
			return ""
		case <-time.After(10 * time.Millisecond):
		}
	}
	return ""
}

// TestReadme gives the commands of README, as a newcomer does.
func TestReadme(t *testing.T) {
	t.Parallel()
	r := newReader(newMachines(t))
	commands := section(t, "Three terminals")
	require.Len(t, commands, 7)
	starts, begin, again, list, drain := commands[:3], commands[3], commands[4], commands[5], commands[6]
	for i, text := range starts {
		m := &machine{machines: r.machines, name: fmt.Sprint("n", i+1)}
		m.runs = func() *exec.Cmd { return r.command(text) }
		r.all = append(r.all, m)
		m.start()
	}
	for _, m := range r.all {
		require.Eventually(t, func() bool { return strings.Contains(m.stderr.String(), "nodes: n1, n2, n3") }, patience, 10*time.Millisecond)
	}
	pid := r.pid(begin)
	require.Equal(t, pid, r.pid(again))
	out, err := r.command(list).CombinedOutput()
	require.NoError(t, err, "%s", out)
	where := regexp.MustCompile(`(?m)^-\s+build\s+(n\d)\s`).FindSubmatch(out)
	require.NotNil(t, where, "%s", out)

	var node *machine
	for _, m := range r.all {
		if m.name == string(where[1]) {
			node = m
		}
	}
	node.kill()
	through := begin
	if node == r.all[0] {
		through = again
	}
	refused := r.open(through)
	refused.awaitEnd()
	require.Contains(t, refused.out.String(), "node "+node.name+" is unreachable")
	node.start()
	require.Equal(t, pid, r.pid(begin))

	drained := r.open(drain)
	drained.await(`(n2 is draining: nothing starts there)`)
	require.Equal(t, pid, r.pid(begin))
	require.Eventually(t, func() bool {
		return r.all[0].dialer().CloseSession(t.Context(), "build", "over") == nil
	}, patience, 50*time.Millisecond)
	drained.await(`(n2 is empty)`)
	drained.awaitEnd()
}
