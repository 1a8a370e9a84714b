//go:build linux

package wsep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/streamtest"
	"cdr.dev/wsep/internal/timetest"
)

// startKept starts a session of a command that is kept. The test's end closes it.
func startKept(t *testing.T, opts *wsep.Options, c wsep.Command) *wsep.Session {
	t.Helper()
	c.Keep = time.Minute
	s := wsep.NewSession(&c, wsep.LocalExecer{}, opts)
	t.Cleanup(func() { s.Close("test is over") })
	return s
}

// attachKept attaches a client that leaves at the test's end.
func attachKept(t *testing.T, s *wsep.Session) wsep.Process {
	t.Helper()
	p, err := s.Attach(t.Context())
	require.NoError(t, err)
	return p
}

// TestKeptCommand: a command goes on without its client. A later one gets all that was written, and the exit.
func TestKeptCommand(t *testing.T) {
	c := sh("echo out; echo err >&2; read line; echo got $line; cat; exit 3")
	c.Stdin = true
	s := startKept(t, nil, c)
	p := attachKept(t, s)
	require.Equal(t, "out", readLine(t, p.Stdout()))
	require.NoError(t, p.Close())
	require.Error(t, p.Wait())
	_, err := p.Stdout().Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF, "the output has not ended")
	_, err = p.Stdin().Write([]byte("late\n"))
	require.Error(t, err)

	p = attachKept(t, s)
	require.Equal(t, "out", readLine(t, p.Stdout()))
	_, err = io.WriteString(p.Stdin(), "one\n")
	require.NoError(t, err)
	require.Equal(t, "got one", readLine(t, p.Stdout()))
	ctx, cancel := context.WithCancel(t.Context())
	other, err := s.Attach(ctx)
	require.NoError(t, err)
	_, err = io.WriteString(other.Stdin(), "two\n")
	require.NoError(t, err)
	require.Equal(t, "two", readLine(t, p.Stdout()))
	cancel()
	require.Error(t, other.Wait(), "a client's context ends the client alone")
	require.NoError(t, p.Stdin().Close())

	for range 2 { // The second client comes after the exit.
		rest, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		require.True(t, strings.HasSuffix("out\ngot one\ntwo\n", string(rest)), "%q", rest)
		complaints, err := io.ReadAll(p.Stderr())
		require.NoError(t, err)
		require.Equal(t, "err\n", string(complaints))
		exit, _ := errors.AsType[wsep.ExitError](p.Wait())
		require.Equal(t, 3, exit.ExitCode())
		p = attachKept(t, s)
	}
}

// TestKeptOutputIsBounded: nobody reads, and the command does not wait. What is gone is told.
func TestKeptOutputIsBounded(t *testing.T) {
	const limit, size = 100_000, 3_000_000
	command := sh(fmt.Sprintf("seq 1000000 | head -c %d", size))
	s := startKept(t, &wsep.Options{KeepOutput: limit}, command)
	first := attachKept(t, s)
	require.NoError(t, first.Wait())
	_, err := io.Copy(io.Discard, attachKept(t, s).Stdout()) // Output may come after the exit.
	require.NoError(t, err)

	all, err := wsep.Output(t.Context(), wsep.LocalExecer{}, command)
	require.NoError(t, err)
	for name, p := range map[string]wsep.Process{"slow": first, "late": attachKept(t, s)} {
		rest, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		skipped, skippedErr := p.(wsep.Skipper).Skipped()
		require.Zero(t, skippedErr)
		require.EqualValues(t, size, skipped+int64(len(rest)), name)
		require.Len(t, rest, limit, name)
		require.True(t, bytes.HasSuffix(all, rest), name)
	}
}

// TestKeptExitIsToldAtOnce: the exit does not wait for a process that holds the outputs. Those go on until the session is closed.
func TestKeptExitIsToldAtOnce(t *testing.T) {
	execer := wsep.Dialer{URL: serveCut(t, &wsep.Handler{})}
	c := kept("1", "sleep 1000 & echo $!; exit 3")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := execer.Start(ctx, c)
	require.NoError(t, err)
	holder := readLine(t, p.Stdout())
	requireEndedWith(t, execer.WaitSession(ctx, "1"), 3)
	requireEndedWith(t, p.Wait(), 3)
	late, err := execer.Start(ctx, wsep.Command{ID: "1"})
	require.NoError(t, err)
	require.Equal(t, holder, readLine(t, late.Stdout()))
	requireEndedWith(t, late.Wait(), 3)

	list, err := execer.Sessions(ctx)
	require.NoError(t, err)
	require.True(t, list[0].Exited)
	require.Equal(t, 2, list[0].Clients, "they may read on")
	require.NoError(t, execer.CloseSession(ctx, "1", "the test closes it"))
	rest, err := io.ReadAll(late.Stdout())
	require.NoError(t, err)
	require.Empty(t, rest)
	require.NoError(t, ctx.Err())
	pid, err := strconv.Atoi(holder)
	require.NoError(t, err)
	requireGone(t, patience, []int{pid})
}

// TestKeptHeldOutputEnds: the command is remembered for Keep after its exit, even if a process holds its outputs.
func TestKeptHeldOutputEnds(t *testing.T) {
	c := sh("sleep 1000 & exit 3")
	c.Keep = time.Millisecond
	s := wsep.NewSession(&c, wsep.LocalExecer{}, nil)
	p := attachKept(t, s)
	requireEndedWith(t, p.Wait(), 3)
	require.NoError(t, p.Close())
	_, err := s.WaitForState(wsep.StateDone)
	require.Error(t, err)
}

// TestKeptLastLine: the last line is the newest one, of stdout or stderr. It is told as a terminal shows it.
func TestKeptLastLine(t *testing.T) {
	execer := wsep.Dialer{URL: serveCut(t, &wsep.Handler{})}
	p, err := execer.Start(t.Context(), kept("1", `while read -r line; do eval "$line"; done`))
	require.NoError(t, err)
	lastLine := func() string {
		list, err := execer.Sessions(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].LastLine
	}
	require.Empty(t, lastLine())
	// The output is kept before its client gets it.
	for _, step := range []struct {
		output io.Reader
		print  string
		want   string
	}{
		{p.Stdout(), `printf 'first\n \033[31mred\033[0m \n\n \n'`, "red"},
		{p.Stderr(), `printf 'complaint\n' >&2`, "complaint"},
		{p.Stdout(), `printf '10%%\r20%%\n'`, "20%"},
		{p.Stderr(), `printf '\n\n' >&2`, "complaint"},
		{p.Stdout(), `printf '%05000d\n' 7`, strings.Repeat("0", 1022) + "7"},
		{p.Stdout(), `printf '\342\202x\n'`, "x"},
	} {
		_, err := io.WriteString(p.Stdin(), step.print+"\n")
		require.NoError(t, err)
		for range strings.Count(step.print, `\n`) {
			readLine(t, step.output)
		}
		require.Equal(t, step.want, lastLine(), step.print)
	}
	require.NoError(t, p.Stdin().Close())
	require.NoError(t, p.Wait())
}

// TestKeptInputIsShared: what one client writes at a time stays together, and a client that leaves holds up nobody.
func TestKeptInputIsShared(t *testing.T) {
	c := sh("read go; sha256sum")
	c.Stdin = true
	s := startKept(t, nil, c)
	ctx, cancel := context.WithCancel(t.Context())
	stuck, err := s.Attach(ctx)
	require.NoError(t, err)
	data := streamtest.RandomBytes(1 << 20)
	wrote := make(chan error, 1)
	go func() {
		_, err := stuck.Stdin().Write(append([]byte("go\n"), data...))
		wrote <- err
	}()
	require.NoError(t, timetest.Receive(t, wrote))
	cancel()
	p := attachKept(t, s)
	require.NoError(t, p.Stdin().Close())
	var want bytes.Buffer
	require.NoError(t, wsep.Run(t.Context(), wsep.LocalExecer{}, sh("sha256sum"), bytes.NewReader(data), &want, nil))
	got, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Equal(t, want.String(), string(got))
}

// TestKeptWriterLeaves: a client that waits for a command which does not read can leave.
func TestKeptWriterLeaves(t *testing.T) {
	c := sh("exec sleep 1000")
	c.Stdin = true
	s := startKept(t, nil, c)
	p := attachKept(t, s)
	wrote := make(chan error, 1)
	go func() {
		_, err := p.Stdin().Write(make([]byte, 8<<20))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		require.Error(t, err, "nobody reads so much")
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, p.Close())
	require.Error(t, timetest.Receive(t, wrote))
	require.NoError(t, attachKept(t, s).Close())
}

// TestKeptSignal reaches the command from any client.
func TestKeptSignal(t *testing.T) {
	s := startKept(t, nil, sh("trap 'echo caught; exit 4' USR1; echo ready; while :; do sleep 0.01; done"))
	require.Equal(t, "ready", readLine(t, attachKept(t, s).Stdout()))
	p := attachKept(t, s)
	require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "USR1"))
	exit, _ := errors.AsType[wsep.ExitError](p.Wait())
	require.Equal(t, 4, exit.ExitCode())
	require.ErrorIs(t, p.(wsep.Signaler).Signal(t.Context(), "USR1"), os.ErrProcessDone)
}

// TestKeptIsClosed: Close ends the command, and its clients are told why.
func TestKeptIsClosed(t *testing.T) {
	s := startKept(t, nil, sh("echo $$; exec sleep 1000"))
	p := attachKept(t, s)
	pids := readPids(t, readLine(t, p.Stdout()))
	s.Close("no longer wanted")
	require.ErrorContains(t, p.Wait(), "no longer wanted")
	requireGone(t, patience, pids)
	_, err := s.Attach(t.Context())
	require.ErrorContains(t, err, "no longer wanted")
}

// heldExecer starts processes that the test ends.
type heldExecer struct{ exit chan error }

type heldProcess struct {
	wsep.Process
	exit chan error
}

func (h heldExecer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	return &heldProcess{exit: h.exit}, nil
}

func (p *heldProcess) Pid() int              { return 7 }
func (p *heldProcess) Stdin() io.WriteCloser { return nil }
func (p *heldProcess) Stdout() io.Reader     { return strings.NewReader("all") }
func (p *heldProcess) Stderr() io.Reader     { return strings.NewReader("") }
func (p *heldProcess) Wait() error           { return <-p.exit }
func (p *heldProcess) Close() error          { return nil }

// TestKeptIsRemembered for as long as Keep says from its exit, or from the time that its last client detaches. While the
// command runs it needs no client.
func TestKeptIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan error)
		c := wsep.Command{Command: "held", Keep: 3 * time.Minute}
		s := wsep.NewSession(&c, heldExecer{exit}, nil)
		time.Sleep(24 * time.Hour)
		exit <- nil
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		p, err := s.Attach(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.Wait())
		time.Sleep(2 * time.Minute)
		p, err = s.Attach(t.Context())
		require.NoError(t, err)
		out, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		require.Equal(t, "all", string(out))
		time.Sleep(3*time.Minute - time.Second)
		synctest.Wait()
		state, _ := s.WaitForState(wsep.StateReady)
		require.EqualValues(t, wsep.StateReady, state)
		time.Sleep(2 * time.Second)
		state, _ = s.WaitForState(wsep.StateDone)
		require.EqualValues(t, wsep.StateDone, state)
	})
}

// TestSessionTimeoutBoundsKeep: a client can't make a server remember for ever.
func TestSessionTimeoutBoundsKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan error, 1)
		exit <- nil
		c := wsep.Command{Command: "held", Keep: 1000 * time.Hour}
		s := wsep.NewSession(&c, heldExecer{exit}, &wsep.Options{SessionTimeout: time.Minute})
		time.Sleep(time.Minute + time.Second)
		state, _ := s.WaitForState(wsep.StateClosing)
		require.GreaterOrEqual(t, int(state), wsep.StateClosing)
	})
}
