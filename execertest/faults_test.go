//go:build unix

package execertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/leaktest"
)

// A line of the contract that no Execer can fail is worth nothing. Each line here finds at least one fault.

var errFault = errors.New("fault")

var faults = map[string]fault{
	"ArgsTrimmed": {command(func(c *wsep.Command) {
		c.Args = slices.Clone(c.Args)
		for i := range c.Args {
			c.Args[i] = strings.TrimSpace(c.Args[i])
		}
	}), []string{"Command/Args"}},
	"EmptyArgsDropped": {command(func(c *wsep.Command) {
		c.Args = slices.DeleteFunc(slices.Clone(c.Args), func(arg string) bool { return arg == "" })
	}), []string{"Command/Args", "Command/ArgsEmpty"}},
	"ArgsCut": {command(func(c *wsep.Command) {
		c.Args = slices.Clone(c.Args)
		for i := range c.Args {
			c.Args[i] = c.Args[i][:min(len(c.Args[i]), 16<<10)]
		}
	}), []string{"Command/ArgsLong"}},
	"ArgsMadeUTF8": {command(func(c *wsep.Command) {
		c.Args = slices.Clone(c.Args)
		for i := range c.Args {
			c.Args[i] = strings.ToValidUTF8(c.Args[i], "?")
		}
	}), []string{"Command/ArgsNotUTF8"}},
	"EnvCutAtNewline": {command(func(c *wsep.Command) {
		c.Env = slices.Clone(c.Env)
		for i := range c.Env {
			c.Env[i], _, _ = strings.Cut(c.Env[i], "\n")
		}
	}), []string{"Command/Env"}},
	"InheritedEnvWins": {command(func(c *wsep.Command) { c.Env = append(slices.Clone(c.Env), os.Environ()...) }),
		[]string{"Command/EnvWins"}},
	"NoWorkingDir": {command(func(c *wsep.Command) { c.WorkingDir = "" }),
		[]string{"Command/WorkingDir", "StartFailure/WorkingDir*", "StartReason/WorkingDirMissing"}},
	"EnvAppendedInPlace": {command(func(c *wsep.Command) { c.Env = append(c.Env, "MORE=1") }),
		[]string{"Command/Untouched"}},
	"ArgsNotCopied": {starter(func(ctx context.Context, c wsep.Command) (wsep.Process, error) {
		c.Args[0], c.Args = "-ec", append(c.Args, "more")
		return local.Start(ctx, c)
	}), []string{"Command/Untouched"}},
	"WrongPid": {running(func(_ context.Context, _ wsep.Command, p *altered) { p.pid++ }),
		[]string{"Command/Pid"}},
	"SessionsWithoutTerminal": {sessions(), []string{"Command/IDWithoutTerminal"}},

	"OutputsSwapped": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.stdout, p.stderr = p.stderr, p.stdout
	}),
		[]string{"Output/Apart", "Output/ClosedEarly", "Terminal/Output"}},
	"OutputAtEnd": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		out := p.stdout
		all := sync.OnceValue(func() io.Reader {
			text, _ := io.ReadAll(out)
			return bytes.NewReader(text)
		})
		p.stdout = readFunc(func(b []byte) (int, error) { return all().Read(b) })
	}), []string{"Output/AtOnce"}},
	"EOFOnce": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		out, ended := p.stdout, false
		p.stdout = readFunc(func(b []byte) (int, error) {
			if ended {
				return 0, os.ErrClosed
			}
			n, err := out.Read(b)
			ended = err != nil
			return n, err
		})
	}), []string{"Output/EOFStays"}},
	"BlocksLost": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		out, total := p.stdout, 0
		p.stdout = readFunc(func(b []byte) (int, error) {
			n, err := out.Read(b)
			if total += n; total > bigSize/2 {
				total = 0
				n = 0
			}
			return n, err
		})
	}), []string{"Output/Big", "Stdin/Echo"}},
	"LastByteLost": {running(func(_ context.Context, _ wsep.Command, p *altered) { p.stdout = &behind{r: p.stdout} }),
		[]string{"Output/LastBytes", "Output/ReadAfterWait", "Terminal/LastBytes", "Terminal/ReadAfterWait"}},
	"WaitDropsOutput": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		wait := p.wait
		p.wait = func() error {
			err := wait()
			p.stdout, p.stderr = strings.NewReader(""), strings.NewReader("")
			return err
		}
	}), []string{"Output/ReadAfterWait", "Terminal/ReadAfterWait"}},
	"StdoutAfterStderr": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.stderr, p.stdout = inOrder(p.stderr, p.stdout)
	}),
		[]string{"Output/UnreadStderr"}},
	"StderrAfterStdout": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.stdout, p.stderr = inOrder(p.stdout, p.stderr)
	}),
		[]string{"Output/UnreadStdout"}},
	"EndOfOutputIsEnd": {running(func(_ context.Context, c wsep.Command, p *altered) {
		out := p.stdout
		p.stdout = readFunc(func(b []byte) (int, error) {
			n, err := out.Read(b)
			if err != nil && !p.ended() {
				_ = p.sound.(wsep.Signaler).Signal(context.Background(), "KILL")
			}
			return n, err
		})
	}), []string{"Output/ClosedEarly"}},
	"ShortWaitDelay": {wsep.LocalExecer{WaitDelay: time.Millisecond}, []string{"Output/HeldByChild"}},

	"StdinStaysOpen": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.stdin = pipeEnd{p.stdin.Write, func() error { return nil }}
	}), []string{"Stdin/HalfClose", "Stdin/Sort", "Stdin/WriteAfterClose", "Terminal/StdinClose*"}},
	"StdinCloseEnds": {running(func(_ context.Context, c wsep.Command, p *altered) {
		p.stdin = pipeEnd{p.stdin.Write, p.sound.Close}
	}), []string{"Stdin/HalfClose", "Stdin/None", "Terminal/StdinClose*", "Terminal/WithoutStdin"}},
	"WritesCut": {writing(func(b []byte) []byte { return b[:min(len(b), 31<<10)] }),
		[]string{"Stdin/Big", "Stdin/Echo", "Stdin/WriteSizes", "Terminal/Typing"}},
	"WritesKept": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		in := p.stdin
		var kept [][]byte
		p.stdin = pipeEnd{func(b []byte) (int, error) {
			kept = append(kept, b)
			return len(b), nil
		}, func() error {
			for _, b := range kept {
				_, _ = in.Write(b)
			}
			return in.Close()
		}}
	}), []string{"Stdin/WriteSizes"}},
	"WritesSplit": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		in := p.stdin
		p.stdin = pipeEnd{func(b []byte) (int, error) {
			for block := range slices.Chunk(b, 1<<10) {
				if n, err := in.Write(block); err != nil {
					return n, err
				}
				runtime.Gosched() // Another writer's turn.
			}
			return len(b), nil
		}, in.Close}
	}), []string{"Stdin/ConcurrentWriters"}},
	"StdinBeforeStdout": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		in, out := p.stdin, p.stdout
		var mu sync.Mutex
		p.stdin = pipeEnd{func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return in.Write(b)
		}, in.Close}
		p.stdout = readFunc(func(b []byte) (int, error) {
			mu.Lock() // The fault is that a read waits for the write.
			room := b
			mu.Unlock()
			return out.Read(room)
		})
	}), []string{"Stdin/Unread"}},
	"EndFailsWrites": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		in := p.stdin
		p.stdin = pipeEnd{func(b []byte) (int, error) {
			n, err := in.Write(b)
			// Let the process exit, so that the fault shows.
			for began := time.Now(); time.Since(began) < patience/2; time.Sleep(time.Millisecond) {
				if p.ended() {
					return 0, os.ErrProcessDone
				}
			}
			return n, err
		}, in.Close}
	}), []string{"Stdin/LastWrite"}},
	"WriteErrorsHidden": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		in := p.stdin
		p.stdin = pipeEnd{func(b []byte) (int, error) {
			_, _ = in.Write(b)
			return len(b), nil
		}, in.Close}
	}), []string{
		"Stdin/WriteAfterClose", "Stdin/WriteAfterEnd", "Stdin/None", "Terminal/WithoutStdin", "Exit/WhileStdinStreams",
		"Exit/StdinClosedByProgram", "Cancel/Streams",
	}},
	"StdinAlways": {command(func(c *wsep.Command) { c.Stdin = true }), []string{"Stdin/None", "Terminal/WithoutStdin"}},

	"AlwaysSuccess": {waiting(func(context.Context, error) error { return nil }), []string{
		"Exit/Code[1-9]*", "Exit/Killed", "Exit/SignalName", "Exit/WaitAgain", "Exit/WaitConcurrently",
		"Signal/Group", "Close/*", "Cancel/[^B]*",
	}},
	"NeverSuccess": {waiting(func(_ context.Context, err error) error { return wsep.NewExitError(1, "failed") }),
		[]string{"Exit/Code0", "Command/ArgsNotUTF8"}},
	"CodesInSevenBits": {waiting(func(_ context.Context, err error) error {
		if exit, ok := errors.AsType[wsep.ExitError](err); ok {
			return wsep.NewExitError(exit.ExitCode()&127, exit.Error())
		}
		return err
	}), []string{"Exit/Code255", "Exit/Killed"}},
	"SignalIsSuccess": {waiting(func(_ context.Context, err error) error {
		if exit, ok := errors.AsType[wsep.ExitError](err); ok && exit.Signal() != "" {
			return nil
		}
		return err
	}), []string{"Exit/Killed", "Close/Group", "Cancel/Group"}},
	"SignalUntold": {waiting(func(_ context.Context, err error) error {
		if exit, ok := errors.AsType[wsep.ExitError](err); ok {
			return wsep.NewExitError(exit.ExitCode(), exit.Error())
		}
		return err
	}), []string{"Exit/SignalName"}},
	"WaitOnce": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		wait := p.wait
		var mu sync.Mutex
		waited := false
		p.wait = func() error {
			mu.Lock()
			defer mu.Unlock()
			if waited {
				return errFault
			}
			waited = true
			return wait()
		}
	}), []string{"Exit/WaitAgain", "Exit/WaitConcurrently", "Close/AfterEnd", "Cancel/AfterEnd"}},
	"WriteErrorWins": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		in, wait := p.stdin, p.wait
		failed := make(chan error, 100)
		p.stdin = pipeEnd{func(b []byte) (int, error) {
			n, err := in.Write(b)
			if err != nil {
				failed <- err
			}
			return n, err
		}, in.Close}
		p.wait = func() error {
			err := wait()
			select {
			case err := <-failed:
				return err
			case <-time.After(10 * time.Millisecond):
				return err
			}
		}
	}), []string{"Exit/WhileStdinStreams", "Exit/StdinClosedByProgram", "Stdin/WriteAfterEnd"}},

	"NoTerminal": {command(func(c *wsep.Command) { c.TTY = false }), []string{
		"Terminal/IsTerminal", "Terminal/*Size", "Terminal/ResizeSignal", "Terminal/Output", "Terminal/Interrupt",
	}},
	"AlwaysTerminal": {command(func(c *wsep.Command) { c.TTY = true }), []string{"Terminal/IsTerminal", "Output/Apart"}},
	"EraseTakesBytes": {command(func(c *wsep.Command) {
		if c.TTY {
			c.Args = append([]string{"-c", `stty -iutf8; exec "$0" "$@"`, c.Command}, c.Args...)
			c.Command = "sh"
		}
	}), []string{"Terminal/Erase"}},
	"SizeIgnored": {command(func(c *wsep.Command) { c.Rows, c.Cols = 0, 0 }), []string{"Terminal/Size"}},
	"OtherDefaultSize": {command(func(c *wsep.Command) { c.Cols = max(c.Cols, 81) }),
		[]string{"Terminal/Size", "Terminal/DefaultSize"}},
	"ResizeIgnored": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.resize = func(context.Context, uint16, uint16) error { return nil }
	}), []string{"Terminal/Resize", "Terminal/ResizeThenType", "Terminal/ResizeSignal"}},
	"ResizeLater": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		resize := p.resize
		p.resize = func(_ context.Context, rows, cols uint16) error {
			time.AfterFunc(500*time.Millisecond, func() { _ = resize(context.Background(), rows, cols) })
			return nil
		}
	}), []string{"Terminal/ResizeThenType"}},
	"ResizeNeedsTerminal": {running(func(_ context.Context, c wsep.Command, p *altered) {
		if !c.TTY {
			p.resize = func(context.Context, uint16, uint16) error { return errFault }
		}
	}), []string{"Terminal/ResizeWithout"}},
	"TerminalEndsInError": {running(func(_ context.Context, c wsep.Command, p *altered) {
		out := p.stdout
		p.stdout = readFunc(func(b []byte) (int, error) {
			n, err := out.Read(b)
			if c.TTY && err == io.EOF {
				err = syscall.EIO
			}
			return n, err
		})
	}), []string{"Terminal/Output"}},
	"ControlCharactersLost": {writing(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte{3}, nil) }),
		[]string{"Terminal/Interrupt"}},
	"OneEOFCharacter": {running(func(_ context.Context, c wsep.Command, p *altered) {
		in := p.stdin
		if c.TTY && c.Stdin {
			p.stdin = pipeEnd{in.Write, func() error {
				_, err := in.Write([]byte{4})
				return err
			}}
		}
	}), []string{"Terminal/StdinCloseMidLine"}},

	"SignalsLost": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.signal = func(context.Context, string) error { return nil }
	}), []string{"Signal/Trap", "Signal/Terminal", "Signal/Group", "Signal/AfterEnd", "Signal/UnknownRefused"}},
	"SignalToOne": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.signal = func(_ context.Context, name string) error { return syscall.Kill(p.pid, syscall.SIGKILL) }
	}), []string{"Signal/Group"}},
	"UnknownSignalKills": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		signal := p.signal
		p.signal = func(ctx context.Context, name string) error {
			err := signal(ctx, name)
			if errors.Is(err, errors.ErrUnsupported) {
				_ = p.sound.Close()
			}
			return err
		}
	}), []string{"Signal/UnknownHarmless"}},

	"CloseKills": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.close = func() error {
			_ = p.signal(context.Background(), "KILL")
			return nil
		}
	}), []string{"Close/Trap", "Close/TrapOnTerminal"}},
	"CloseDoesNothing": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.close = func() error { return nil }
	}), []string{
		"Close/Trap*", "Close/Group*", "Close/Stubborn*", "Close/Stopped", "Close/UnreadOutput",
		"Close/FullStdin", "Close/Twice",
	}},
	"CloseToOne": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.close = func() error {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
			return nil
		}
	}), []string{"Close/Group", "Close/Stubborn"}},
	"CloseAsksOnly": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		p.close = func() error {
			_ = p.signal(context.Background(), "TERM")
			return nil
		}
	}), []string{"Close/Stubborn*", "Close/Stopped"}},
	"CloseWaitsForStdin": {running(func(_ context.Context, c wsep.Command, p *altered) {
		in, closeProcess := p.stdin, p.close
		var mu sync.Mutex
		p.stdin = pipeEnd{func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return in.Write(b)
		}, in.Close}
		p.close = func() error {
			mu.Lock()
			defer mu.Unlock()
			return closeProcess()
		}
	}), []string{"Close/FullStdin"}},
	"CloseFailsAtEnd": {running(func(_ context.Context, _ wsep.Command, p *altered) {
		closeProcess := p.close
		p.close = func() error {
			if p.ended() {
				return os.ErrProcessDone
			}
			return closeProcess()
		}
	}), []string{"Close/AfterEnd", "Close/Twice"}},

	"ContextIgnored": {starter(func(ctx context.Context, c wsep.Command) (wsep.Process, error) {
		return local.Start(context.WithoutCancel(ctx), c)
	}), []string{"Cancel/[^A]*"}},
	"CloseDetaches": {starter(func(ctx context.Context, c wsep.Command) (wsep.Process, error) {
		detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
		detach := context.AfterFunc(ctx, cancel)
		p, err := local.Start(detached, c)
		if err != nil {
			cancel()
			return nil, err
		}
		a := alter(p)
		a.close = func() error {
			detach()
			return a.signal(detached, "TERM")
		}
		return a, nil
	}), []string{"Cancel/AfterClose"}},
	"ContextWins": {waiting(func(ctx context.Context, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}), []string{"Cancel/AfterEnd"}},

	"UntypedFailures": {failure(func(err error) error { return errors.New(err.Error()) }), []string{
		"StartFailure/*", "StartReason/Missing*", "StartReason/Directory", "StartReason/NotExecutable",
		"StartReason/WorkingDirMissing", "StartReason/Empty", "StartReason/NUL*", "Cancel/BeforeStart",
	}},
	"AllIsMissing": {failure(func(error) error { return &wsep.StartError{Err: exec.ErrNotFound} }),
		[]string{"StartReason/NoProgram", "StartReason/WorkingDir*"}},
	"FailureIsLast": {failureIsLast(), []string{"StartFailure/*"}},

	"OneAtATime":     {oneAtATime(), []string{"Concurrent/Processes", "Command/IDWithoutTerminal"}},
	"FailureEndsAll": {failureEndsAll(), []string{"Concurrent/Failures"}},
}

// TestFaults checks that every line finds its faults. Each runs in a process of its own, because its tests must fail.
func TestFaults(t *testing.T) {
	if os.Getenv(faultVariable) != "" {
		t.Skip("inside of itself")
	}
	const atOnce = 8 // They wait most of the time.
	turn := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	unfound := map[string]bool{}
	for _, line := range Lines() {
		unfound[line] = true
	}
	for name, f := range faults {
		for _, line := range f.lines(t) {
			delete(unfound, line)
			running.Go(func() {
				turn <- struct{}{}
				defer func() { <-turn }()
				t.Run(name+"/"+line, func(t *testing.T) { requireFound(t, name, line) })
			})
		}
	}
	running.Wait()
	require.Empty(t, unfound, "lines for which there is no fault")
}

// TestFault runs the contract against a faulty Execer.
func TestFault(t *testing.T) {
	name := os.Getenv(faultVariable)
	if name == "" {
		t.Skip("TestFaults runs it")
	}
	patience = 2 * time.Second
	defer local.killAll()
	execer := faults[name].execer
	Test(t, func(*testing.T) wsep.Execer { return execer }, nil)
}

func TestMain(m *testing.M) {
	if os.Getenv(faultVariable) != "" {
		os.Exit(m.Run()) // A fault may leave processes and goroutines behind.
	}
	leaktest.Main(m)
}
