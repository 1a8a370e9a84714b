package load

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// small is a Bench that does little, with processes of this machine and the test as the server.
func small(start Start) *Bench {
	return &Bench{
		Start: start,
		Kept:  start, KeptFar: start,
		Stats:  func(context.Context) (Stats, error) { return ownStats() },
		CPU:    func(context.Context) (time.Duration, error) { return ownCPU() },
		Size:   1<<20 + 1,
		Piece:  64 << 10,
		Trips:  3,
		Starts: 3,
		Many:   3,
		Idle:   3,
	}
}

func TestWorks(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skipf("the system does not tell a process's memory: %v", err)
	}
	for _, w := range works {
		t.Run(w.name, func(t *testing.T) {
			result, err := small(startLocal).Run(t.Context(), w.name)
			if err != nil {
				t.Fatal(err)
			}
			if result.Work != w.name || result.Unit != w.unit {
				t.Errorf("got %+v", result)
			}
			if (w.unit == "MiB/s" || w.unit == "s/GiB") && result.Value <= 0 {
				t.Errorf("nothing measured: %v", result.Value)
			}
		})
	}
}

// A contender that loses or changes data, or fails, has no result.
func TestLoss(t *testing.T) {
	cases := map[string]struct{ work, script string }{
		"echo loses a byte":         {"echo", "tail -c +2"},
		"echo changes a byte":       {"echo", "head -c 1 >/dev/null; printf x; cat"},
		"download loses all":        {"download", "true"},
		"download fails in the end": {"download", "head -c 1048577 /dev/zero; exit 1"},
		"upload fails in the end":   {"upload", "cat >/dev/null; exit 1"},
		"another byte comes back":   {"rtt", "dd bs=1 conv=ucase 2>/dev/null"},
		"start fails":               {"start", "false"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bench := small(func(ctx context.Context, command Command) (Process, error) {
				return startLocal(ctx, Command{Name: "sh", Args: []string{"-c", c.script}, Stdin: command.Stdin})
			})
			if result, err := bench.Run(t.Context(), c.work); err == nil {
				t.Errorf("got %+v", result)
			}
		})
	}
}

func startLocal(ctx context.Context, c Command) (Process, error) {
	p := &localProcess{cmd: exec.CommandContext(ctx, c.Name, c.Args...)}
	var err error
	if c.Stdin {
		if p.stdin, err = p.cmd.StdinPipe(); err != nil {
			return nil, err
		}
	}
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return p, p.cmd.Start()
}

type localProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Reader
}

func (p *localProcess) Pid() int                                     { return p.cmd.Process.Pid }
func (p *localProcess) Stdin() io.WriteCloser                        { return p.stdin }
func (p *localProcess) Stdout() io.Reader                            { return p.stdout }
func (p *localProcess) Stderr() io.Reader                            { return strings.NewReader("") }
func (p *localProcess) Resize(context.Context, uint16, uint16) error { return nil }
func (p *localProcess) Wait() error                                  { return p.cmd.Wait() }

func (p *localProcess) Close() error {
	if p.cmd.ProcessState != nil {
		return nil
	}
	return p.cmd.Process.Kill()
}

// TestFar: a byte there and back takes a whole round trip more.
func TestFar(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	far, err := Far("http://" + listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(far, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		began := time.Now()
		_, err := conn.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, 1))
		}
		if took := time.Since(began); err != nil || took < Trip {
			t.Fatalf("%v, in %v", err, took)
		}
	}
}
