package execertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// patience is how long anything may take that has no limit of its own. What takes longer hangs.
var patience = 20 * time.Second

const (
	// endLimit is how long a process and its group may take to end when their context has.
	endLimit = 2 * time.Second
	// bigSize is more than all buffers on the way hold.
	bigSize = 32 << 20
	// unreadSize of each output fits the smallest buffer on the way, a pipe's.
	unreadSize = 32 << 10
)

// fixture is what the test of a line works with.
type fixture struct {
	*testing.T
	execer wsep.Execer
}

// within fails the test when do takes longer than the limit. do runs in a goroutine of its own.
func (f *fixture) within(limit time.Duration, what string, do func()) {
	f.Helper()
	done := make(chan struct{})
	// Ends when do does. If that takes too long the test fails.
	go func() {
		defer close(done)
		do()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		f.Fatalf("%s takes longer than %v; all goroutines:\n\n%s", what, limit, stacks())
	}
}

func stacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}

// shell returns the command that runs a script, whose $1 and following are the args.
func shell(script string, args ...string) wsep.Command {
	return wsep.Command{Command: "sh", Args: append([]string{"-c", script, "sh"}, args...)}
}

// typed returns the command with Stdin.
func typed(c wsep.Command) wsep.Command {
	c.Stdin = true
	return c
}

// onTerminal returns the command with a terminal and Stdin.
func onTerminal(c wsep.Command) wsep.Command {
	c.TTY, c.Stdin = true, true
	return c
}

// idle is a script that lasts, but not for ever, and runs traps at once.
const idle = "\ni=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done"

// process is a started process that ends with its test.
type process struct {
	wsep.Process
	f      *fixture
	cancel context.CancelFunc
	// Set when they are first read.
	stdout, stderr *output
}

// start starts a command.
func (f *fixture) start(c wsep.Command) *process {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var p wsep.Process
	var err error
	f.within(patience, "Start", func() { p, err = f.execer.Start(ctx, c) })
	if err != nil {
		cancel()
	}
	require.NoError(f, err)
	started := &process{Process: p, f: f, cancel: cancel}
	f.Cleanup(started.end)
	return started
}

// end sees to it that nothing of the process is left.
func (p *process) end() {
	p.cancel()
	p.f.within(patience, "the process's end after the test", func() {
		_ = p.Process.Wait()
		for _, o := range []*output{p.stdout, p.stderr} {
			if o != nil {
				<-o.done
			}
		}
	})
}

// wait returns how the process ended.
func (p *process) wait() (err error) {
	p.f.Helper()
	p.f.within(patience, "Wait", func() { err = p.Wait() })
	return err
}

// requireExit waits for the process to end with a code.
func (p *process) requireExit(code int) {
	p.f.Helper()
	requireExit(p.f, p.wait(), code)
}

func requireExit(f *fixture, err error, code int) {
	f.Helper()
	if code == 0 {
		require.NoError(f, err)
		return
	}
	var exit wsep.ExitError
	require.ErrorAs(f, err, &exit)
	require.Equal(f, code, exit.ExitCode())
}

// out returns what is read of stdout, from now on to its end.
func (p *process) out() *output {
	if p.stdout == nil {
		p.stdout = newOutput(p.f, "stdout", p.Stdout())
	}
	return p.stdout
}

// errOut is out for stderr.
func (p *process) errOut() *output {
	if p.stderr == nil {
		p.stderr = newOutput(p.f, "stderr", p.Stderr())
	}
	return p.stderr
}

// write writes all of the text to stdin.
func (p *process) write(text string) {
	p.f.Helper()
	var n int
	var err error
	p.f.within(patience, "a write to stdin", func() { n, err = io.WriteString(p.Stdin(), text) })
	require.NoError(p.f, err)
	require.Equal(p.f, len(text), n, "bytes written")
}

// closeStdin closes stdin.
func (p *process) closeStdin() {
	p.f.Helper()
	var err error
	p.f.within(patience, "closing stdin", func() { err = p.Stdin().Close() })
	require.NoError(p.f, err)
}

// output is what has been read of a stream.
type output struct {
	f    *fixture
	name string
	done chan struct{} // closed when reading has ended

	mu   sync.Mutex // guards what follows
	text []byte
	err  error         // how reading ended
	more chan struct{} // closed at the next change
}

func newOutput(f *fixture, name string, r io.Reader) *output {
	o := &output{f: f, name: name, done: make(chan struct{}), more: make(chan struct{})}
	// Ends with the stream, and that with the process, which the fixture ends.
	go func() {
		defer close(o.done)
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Read(buf)
			o.add(buf[:n], err)
			if err != nil {
				return
			}
		}
	}()
	return o
}

func (o *output) add(text []byte, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, text...)
	o.err = err
	close(o.more)
	o.more = make(chan struct{})
}

// contains waits until the stream contains the text. It reports false if it ends without.
func (o *output) contains(text string) bool {
	for {
		o.mu.Lock()
		found, err, more := bytes.Contains(o.text, []byte(text)), o.err, o.more
		o.mu.Unlock()
		if found || err != nil {
			return found
		}
		<-more
	}
}

// await waits until the stream contains the text.
func (o *output) await(text string) {
	o.f.Helper()
	var found bool
	o.f.within(patience, "reading "+text+" from "+o.name, func() { found = o.contains(text) })
	require.True(o.f, found, "%s ended without %q: %q", o.name, text, o.sofar())
}

func (o *output) sofar() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// all waits for the stream's end, which must be io.EOF, and returns all of it.
func (o *output) all() string {
	o.f.Helper()
	o.f.within(patience, "reading "+o.name+" to its end", func() { <-o.done })
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Equal(o.f, io.EOF, o.err, "the end of %s", o.name)
	return string(o.text)
}

// run runs a command to its end and returns its outputs. It must exit with code 0 and write nothing to stderr.
func (f *fixture) run(c wsep.Command) (stdout string) {
	f.Helper()
	p := f.start(c)
	out, errOut := p.out(), p.errOut()
	err := p.wait()
	stdout = out.all()
	require.Empty(f, errOut.all(), "stderr of %q", c.Args)
	require.NoError(f, err)
	return stdout
}

// tempDir makes a directory where the commands run.
func (f *fixture) tempDir() string {
	f.Helper()
	dir := strings.TrimSuffix(f.run(shell(`cd "$(mktemp -d)" && pwd -P`)), "\n")
	require.True(f, strings.HasPrefix(dir, "/"), "directory %q", dir)
	f.Cleanup(func() { f.run(shell(`rm -rf "$1"`, dir)) })
	return dir
}

// vigil watches over a group of processes by a FIFO that all of them have open for writing: only when the last one is
// gone does its reader get to the end. The processes inherit it from one who says exec 3>"$1".
type vigil struct {
	fifo   string
	reader *process
}

func (f *fixture) watch() *vigil {
	f.Helper()
	fifo := f.tempDir() + "/alive"
	reader := f.start(shell(`mkfifo "$1" && echo made && exec cat "$1"`, fifo))
	reader.out().await("made")
	return &vigil{fifo, reader}
}

// requireEnd waits for the process to end, and all others that the vigil is for. It returns how the process ended.
func (v *vigil) requireEnd(p *process) (err error) {
	p.f.Helper()
	var readerErr error
	p.f.within(endLimit, "the end of the process", func() { err = p.Wait() })
	p.f.within(endLimit, "the end of the group", func() { readerErr = v.reader.Wait() })
	require.NoError(p.f, readerErr)
	return err
}

// fill writes lines to stdin until it takes no more for a while, because nobody reads. It goes on writing until that
// fails.
func (p *process) fill() {
	p.f.Helper()
	progress := make(chan struct{}, 1)
	stopped := make(chan struct{})
	// Ends when the process has, and writing fails.
	go func() {
		defer close(stopped)
		block := bytes.Repeat([]byte("nobody reads this\n"), 1000)
		for {
			if _, err := p.Stdin().Write(block); err != nil {
				return
			}
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}()
	p.f.Cleanup(func() { p.f.within(patience, "failing of a write to stdin", func() { <-stopped }) })
	const still = 300 * time.Millisecond
	p.f.within(patience, "filling stdin", func() {
		for {
			select {
			case <-progress:
			case <-time.After(still):
				return
			case <-stopped:
				return
			}
		}
	})
	select {
	case <-stopped:
		p.f.Fatal("writing to stdin fails while the process runs")
	default:
	}
}

// noise returns bytes without a pattern, the same ones every time.
func noise() io.Reader { return rand.NewChaCha8([32]byte{}) }

// digest returns the checksum of what r has, as sha256sum writes it.
func digest(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), err
}

// sumScript writes the checksum of its stdin.
const sumScript = `{ sha256sum || shasum -a 256; } 2>/dev/null`
