package execertest

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// patience is how long an action may take before it counts as hanging.
var patience = 20 * time.Second

// fixture is the test of a line with its Execer.
type fixture struct {
	*testing.T
	execer wsep.Execer
	helper string // the path of the program that the commands run; empty for sh
}

// within fails the test when do takes longer than the limit. do runs in a goroutine of its own.
func (f *fixture) within(limit time.Duration, what string, do func()) {
	f.Helper()
	done := make(chan struct{})
	// Ends when do returns. If that takes too long, the test fails.
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

// mode makes a command have a stdin or a terminal.
type mode func(c wsep.Command) wsep.Command

// piped returns the command as it is.
func piped(c wsep.Command) wsep.Command { return c }

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

// process is a started process. It is ended at the test's end.
type process struct {
	wsep.Process
	f      *fixture
	tty    bool
	cancel context.CancelFunc
	// They are set when they are first read.
	stdout, stderr *output
	// background are goroutines that end after the process has exited.
	background sync.WaitGroup
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
	started := &process{Process: p, f: f, tty: c.TTY, cancel: cancel}
	f.Cleanup(started.end)
	return started
}

// end ends the process and waits for it.
func (p *process) end() {
	p.cancel()
	p.f.within(patience, "the process's end after the test", func() {
		_ = p.Wait()
		p.background.Wait()
	})
}

// wait returns the result of Wait.
func (p *process) wait() (err error) {
	p.f.Helper()
	p.f.within(patience, "Wait", func() { err = p.Wait() })
	return err
}

// requireExit waits until the process exits. The exit code must be code.
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

// out returns stdout. It is read to its end from the first call on.
func (p *process) out() *output {
	if p.stdout == nil {
		p.stdout = p.read("stdout", p.Stdout())
	}
	return p.stdout
}

// errOut is out for stderr.
func (p *process) errOut() *output {
	if p.stderr == nil {
		p.stderr = p.read("stderr", p.Stderr())
	}
	return p.stderr
}

// write writes all of the text to stdin. In a terminal, the key Enter ends a line.
func (p *process) write(text string) {
	p.f.Helper()
	if p.tty {
		text = strings.ReplaceAll(text, "\n", "\r")
	}
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

// output has the bytes that have been read from a stream.
type output struct {
	f     *fixture
	name  string
	tty   bool
	ended chan struct{} // closed when reading has ended

	mu   sync.Mutex // guards what follows
	text []byte
	err  error         // the error with which reading ended
	more chan struct{} // closed at the next change
}

// read starts to read a stream.
func (p *process) read(name string, r io.Reader) *output {
	o := &output{f: p.f, name: name, tty: p.tty, ended: make(chan struct{}), more: make(chan struct{})}
	p.background.Go(func() {
		defer close(o.ended)
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Read(buf)
			o.add(buf[:n], err)
			if err != nil {
				return
			}
		}
	})
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

// contains waits until the stream contains the text. It reports false if the stream ends without it.
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

// drawing are the control sequences that a console of Windows adds to the text.
var drawing = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)`)

// all waits for the stream's end and returns all of it. The end must be io.EOF.
func (o *output) all() string {
	o.f.Helper()
	o.f.within(patience, "reading "+o.name+" to its end", func() { <-o.ended })
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Equal(o.f, io.EOF, o.err, "the end of %s: %v", o.name, o.err)
	if o.f.helper != "" && o.tty {
		return drawing.ReplaceAllString(string(o.text), "")
	}
	return string(o.text)
}

// run runs a command and returns its stdout. The command must exit with code 0 and write nothing to stderr.
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

// gate has a program wait until the test opens it: see atGate.
type gate struct {
	f    *fixture
	file string
}

// gate makes a gate. It is shut.
func (f *fixture) gate() gate {
	f.Helper()
	return gate{f, f.tempDir() + "/open"}
}

func (g gate) open() {
	g.f.Helper()
	g.f.run(g.f.command(program{touch}, g.file))
}

// tempDir makes a directory on the system of the commands. fill are steps that make files there.
func (f *fixture) tempDir(fill ...step) string {
	f.Helper()
	dir := strings.TrimSuffix(f.run(f.command(append(program{makeTempDir}, fill...))), "\n")
	f.removeAtEnd(dir)
	return dir
}

// removeAtEnd removes a directory of the commands' system at the test's end.
func (f *fixture) removeAtEnd(dir string) {
	f.Helper()
	require.Contains(f, dir, "/", "directory")
	f.Cleanup(func() { f.run(f.command(program{remove}, dir)) })
}
