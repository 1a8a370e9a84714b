//go:build unix

package execertest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// fault is a faulty Execer, and the lines that must find its fault. The lines may be patterns for path.Match.
type fault struct {
	execer wsep.Execer
	found  []string
}

// starter is an Execer that consists of Start.
type starter func(ctx context.Context, c wsep.Command) (wsep.Process, error)

func (s starter) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) { return s(ctx, c) }

// local is the sound Execer that the faulty ones use. It remembers its processes, because a faulty one may not end
// them.
var local = &remembering{}

type remembering struct {
	mu        sync.Mutex
	processes []wsep.Process
}

// Start implements wsep.Execer.
func (r *remembering) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p, err := wsep.LocalExecer{}.Start(ctx, c)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.processes = append(r.processes, p)
	}
	return p, err
}

// killAll kills all processes of the groups that still run.
func (r *remembering) killAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.processes {
		err := p.(wsep.Signaler).Signal(context.Background(), "KILL")
		// The number of a process that has exited is still its group's, as long as no other process has it.
		if errors.Is(err, os.ErrProcessDone) && syscall.Kill(p.Pid(), 0) != nil {
			_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
		}
	}
}

// command changes the command before it starts.
func command(change func(c *wsep.Command)) wsep.Execer {
	return starter(func(ctx context.Context, c wsep.Command) (wsep.Process, error) {
		change(&c)
		return local.Start(ctx, c)
	})
}

// failure changes the error of a start.
func failure(change func(err error) error) wsep.Execer {
	return starter(func(ctx context.Context, c wsep.Command) (wsep.Process, error) {
		p, err := local.Start(ctx, c)
		if err != nil {
			return nil, change(err)
		}
		return p, nil
	})
}

// running changes the process after its start.
func running(change func(ctx context.Context, c wsep.Command, p *altered)) wsep.Execer {
	return starter(func(ctx context.Context, c wsep.Command) (wsep.Process, error) {
		p, err := local.Start(ctx, c)
		if err != nil {
			return nil, err
		}
		a := alter(p)
		change(ctx, c, a)
		return a, nil
	})
}

// altered is a process with methods that can be replaced.
type altered struct {
	sound          wsep.Process
	pid            int
	stdin          io.WriteCloser
	stdout, stderr io.Reader
	resize         func(ctx context.Context, rows, cols uint16) error
	wait, close    func() error
	signal         func(ctx context.Context, name string) error
}

func alter(p wsep.Process) *altered {
	return &altered{p, p.Pid(), p.Stdin(), p.Stdout(), p.Stderr(), p.Resize, p.Wait, p.Close, p.(wsep.Signaler).Signal}
}

func (a *altered) Pid() int { return a.pid }

func (a *altered) Stdin() io.WriteCloser { return a.stdin }

func (a *altered) Stdout() io.Reader { return a.stdout }

func (a *altered) Stderr() io.Reader { return a.stderr }

func (a *altered) Wait() error { return a.wait() }

func (a *altered) Close() error { return a.close() }

func (a *altered) Resize(ctx context.Context, rows, cols uint16) error {
	return a.resize(ctx, rows, cols)
}

func (a *altered) Signal(ctx context.Context, name string) error { return a.signal(ctx, name) }

// ended reports whether the process has exited.
func (a *altered) ended() bool { return syscall.Kill(a.sound.Pid(), 0) != nil }

type readFunc func(b []byte) (int, error)

func (r readFunc) Read(b []byte) (int, error) { return r(b) }

type pipeEnd struct {
	write func(b []byte) (int, error)
	close func() error
}

func (p pipeEnd) Write(b []byte) (int, error) { return p.write(b) }

func (p pipeEnd) Close() error { return p.close() }

// writing changes the bytes that are written to stdin.
func writing(change func(b []byte) []byte) wsep.Execer {
	return running(func(_ context.Context, _ wsep.Command, p *altered) {
		in := p.stdin
		p.stdin = pipeEnd{func(b []byte) (int, error) {
			if _, err := in.Write(change(b)); err != nil {
				return 0, err
			}
			return len(b), nil
		}, in.Close}
	})
}

// waiting changes the result of Wait.
func waiting(change func(ctx context.Context, err error) error) wsep.Execer {
	return running(func(ctx context.Context, _ wsep.Command, p *altered) {
		wait := p.wait
		p.wait = func() error { return change(ctx, wait()) }
	})
}

// behind holds one byte back.
type behind struct {
	r    io.Reader
	held []byte
}

func (b *behind) Read(p []byte) (int, error) {
	buf := make([]byte, max(1, len(p)-1))
	n, err := b.r.Read(buf)
	all := append(b.held, buf[:n]...)
	if len(all) == 0 {
		return 0, err
	}
	b.held = []byte{all[len(all)-1]}
	return copy(p, all[:len(all)-1]), err
}

// inOrder returns the two readers. The second can be read when the first has ended.
func inOrder(first, second io.Reader) (io.Reader, io.Reader) {
	ended := make(chan struct{})
	end := sync.OnceFunc(func() { close(ended) })
	return readFunc(func(b []byte) (int, error) {
			n, err := first.Read(b)
			if err != nil {
				end()
			}
			return n, err
		}), readFunc(func(b []byte) (int, error) {
			<-ended
			return second.Read(b)
		})
}

// sessions is an Execer that returns the running process with the same ID.
func sessions() wsep.Execer {
	known := map[string]wsep.Process{}
	return starter(func(ctx context.Context, c wsep.Command) (wsep.Process, error) {
		if p := known[c.ID]; c.ID != "" && p != nil {
			return p, nil
		}
		p, err := local.Start(ctx, c)
		known[c.ID] = p
		return p, err
	})
}

// failureIsLast is an Execer that starts nothing after a failed start.
func failureIsLast() wsep.Execer {
	var failed error
	return starter(func(ctx context.Context, c wsep.Command) (p wsep.Process, err error) {
		if failed != nil && !strings.Contains(strings.Join(c.Args, " "), "rm -rf") {
			return nil, failed
		}
		p, err = local.Start(ctx, c)
		if err != nil {
			failed = err
		}
		return p, err
	})
}

// oneAtATime is an Execer that starts nothing while a process runs.
func oneAtATime() wsep.Execer {
	var mu sync.Mutex
	return starter(func(ctx context.Context, c wsep.Command) (p wsep.Process, err error) {
		mu.Lock()
		p, err = local.Start(ctx, c)
		if err != nil {
			mu.Unlock()
			return nil, err
		}
		go func() {
			defer mu.Unlock()
			_ = p.Wait()
		}()
		return p, nil
	})
}

// failureEndsAll is an Execer that ends all processes when a start fails.
func failureEndsAll() wsep.Execer {
	ctx, cancel := context.WithCancel(context.Background())
	return starter(func(startCtx context.Context, c wsep.Command) (p wsep.Process, err error) {
		own, cancelOwn := context.WithCancel(startCtx)
		context.AfterFunc(ctx, cancelOwn)
		p, err = local.Start(own, c)
		if err != nil {
			cancel()
		}
		return p, err
	})
}

// lines returns the names of the lines that must find the fault.
func (f fault) lines(t *testing.T) []string {
	var names []string
	for _, pattern := range f.found {
		before := len(names)
		for _, name := range Lines() {
			if ok, err := path.Match(pattern, name); ok && err == nil && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		require.Greater(t, len(names), before, "%s adds no line", pattern)
	}
	return names
}

// requireFound runs the line with the fault.
func requireFound(t *testing.T, name, line string) {
	pattern := "^TestFault$/^" + strings.ReplaceAll(line, "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run", pattern)
	cmd.Env = append(os.Environ(), faultVariable+"="+name)
	out, err := cmd.CombinedOutput()
	_, failed := errors.AsType[*exec.ExitError](err)
	require.True(t, failed, "the faulty Execer passes: %v\n%s", err, out)
	require.Contains(t, string(out), "--- FAIL: TestFault/"+line+" (")
}

// faultVariable is the environment variable with the name of the fault to test.
const faultVariable = "WSEP_TEST_FAULT"
