package wsep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/timetest"
	"cdr.dev/wsep/internal/wstest"
)

// ending is a process without output. Wait returns its error.
func ending(err error) fakeExecer {
	f := untilEnded()
	f.wait = func(context.Context) error { return err }
	return f
}

// failing is an Execer whose starts fail.
type failing struct{ err error }

func (f failing) Start(context.Context, Command) (Process, error) { return nil, f.err }

// over returns an Execer that runs commands with the given one behind hops connections.
func over(t *testing.T, execer Execer, hops int) Execer {
	for range hops {
		execer = hop{t, execer}
	}
	return execer
}

type hop struct {
	t     *testing.T
	inner Execer
}

func (h hop) Start(ctx context.Context, c Command) (Process, error) {
	client, server := wstest.Pipe()
	go func() {
		err := new(Server).ServeConn(h.t.Context(), server, h.inner, nil)
		code, reason := CloseStatus(err)
		_ = server.Close(code, reason)
	}()
	return RemoteExecerConn(client).Start(ctx, c)
}

func TestOutcomeThroughChains(t *testing.T) {
	odd := errors.New("an error that is no exit code")
	for hops := range 4 {
		for _, tc := range []struct {
			name  string
			wait  error
			check func(t *testing.T, err error)
		}{
			{"success", nil, func(t *testing.T, err error) { require.NoError(t, err) }},
			{"exit code", NewExitError(44, "exit status 44"), func(t *testing.T, err error) {
				require.Equal(t, NewExitError(44, "exit status 44"), err)
			}},
			{"wrapped exit code", fmt.Errorf("remote says: %w", NewExitError(3, "exit status 3")), func(t *testing.T, err error) {
				exit, ok := errors.AsType[ExitError](err)
				require.True(t, ok)
				require.Equal(t, 3, exit.ExitCode())
			}},
			{"signal", ExitError{code: -1, error: "signal: killed", signal: "KILL"}, func(t *testing.T, err error) {
				require.Equal(t, ExitError{code: -1, error: "signal: killed", signal: "KILL"}, err)
			}},
			{"odd error", odd, func(t *testing.T, err error) {
				require.ErrorContains(t, err, odd.Error())
				require.NotErrorAs(t, err, new(ExitError))
				require.NotErrorIs(t, err, ErrDisconnected)
			}},
			{"exit error with code 0", NewExitError(0, "odd"), func(t *testing.T, err error) { require.Error(t, err) }},
			{"error without text", errors.New(""), func(t *testing.T, err error) { require.Error(t, err) }},
			{"broken link", disconnected(io.ErrUnexpectedEOF), func(t *testing.T, err error) {
				require.ErrorIs(t, err, ErrDisconnected)
				require.NotErrorAs(t, err, new(ExitError))
			}},
			{"canceled", context.Canceled, func(t *testing.T, err error) { require.ErrorIs(t, err, context.Canceled) }},
		} {
			t.Run(fmt.Sprintf("%d hops/%s", hops, tc.name), func(t *testing.T) {
				p, err := over(t, ending(tc.wait), hops).Start(t.Context(), Command{Command: "x"})
				require.NoError(t, err)
				tc.check(t, p.Wait())
			})
		}
	}
}

func TestStartErrorThroughChains(t *testing.T) {
	for hops := range 4 {
		for _, target := range []error{
			exec.ErrNotFound, fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported, ErrBusy, ErrInvalidCommand,
			context.DeadlineExceeded,
		} {
			t.Run(fmt.Sprintf("%d hops/%s", hops, target), func(t *testing.T) {
				_, err := over(t, failing{&StartError{fmt.Errorf("here: %w", target)}}, hops).Start(t.Context(), Command{Command: "x"})
				require.ErrorIs(t, err, target)
				start, ok := errors.AsType[*StartError](err)
				require.True(t, ok)
				require.Equal(t, "start command: here: "+target.Error(), start.Error(), "each hop adds nothing")
				for _, other := range []error{ErrBusy, ErrInvalidCommand, fs.ErrPermission} {
					if other != target {
						require.NotErrorIs(t, err, other)
					}
				}
			})
		}
	}
}

// TestConnectionLostDuringStartThroughChains: at no hop is it known whether the command started.
func TestConnectionLostDuringStartThroughChains(t *testing.T) {
	lost := disconnected(errors.New("the far end is gone"))
	for hops := range 4 {
		for _, reason := range []error{lost, &StartError{lost}} {
			_, err := over(t, failing{reason}, hops).Start(t.Context(), Command{Command: "x"})
			require.ErrorIs(t, err, ErrDisconnected)
			require.ErrorContains(t, err, "the far end is gone")
			if hops > 0 || reason == lost {
				require.NotErrorAs(t, err, new(*StartError), "%d hops", hops)
			}
		}
	}
	messages, code, reason := startOld(t, failing{lost})
	require.Empty(t, messages)
	require.Equal(t, statusGoingAway, code, "which such a client does not take for a failed start")
	require.Contains(t, reason, "the far end is gone")
}

// cutShort is a process with exit code 0 whose output fails before its end.
func cutShort(pause time.Duration) fakeExecer {
	f := ending(nil)
	f.stdout = io.MultiReader(strings.NewReader("half of "), failingReader{pause, disconnected(io.ErrUnexpectedEOF)})
	return f
}

type failingReader struct {
	pause time.Duration // before it fails
	err   error
}

func (r failingReader) Read([]byte) (int, error) {
	time.Sleep(r.pause)
	return 0, r.err
}

// TestOutputCutShortThroughChains: output that fails before its end never looks complete.
func TestOutputCutShortThroughChains(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{0, 2 * pendingGrace} { // before the end is told, and after
		for hops := 1; hops < 4; hops++ {
			p, err := over(t, cutShort(pause), hops).Start(t.Context(), Command{Command: "x"})
			require.NoError(t, err)
			out, err := io.ReadAll(p.Stdout())
			require.Equal(t, "half of ", string(out))
			require.ErrorIs(t, err, ErrDisconnected, "%d hops", hops)
			require.NoError(t, p.Wait(), "how the command ended is known all the same")
		}
	}
	messages, code, reason := startOld(t, cutShort(0))
	require.Len(t, messages, 2, "pid and output, but no exit code, which such a client takes for the end of all")
	require.NotEqual(t, statusNormal, code)
	require.Contains(t, reason, io.ErrUnexpectedEOF.Error())
}

// startOld starts a command as a client without extensions. It returns the server's messages, and how the connection ended.
func startOld(t *testing.T, execer Execer) (messages []any, code int, reason string) {
	t.Helper()
	client, server := wstest.Pipe()
	go func() {
		err := new(Server).ServeConn(t.Context(), server, execer, nil)
		code, reason := CloseStatus(err)
		_ = server.Close(code, reason)
	}()
	msg, err := proto.Encode(proto.Start{Command: proto.Command{Command: "x"}})
	require.NoError(t, err)
	require.NoError(t, client.Write(t.Context(), msg))
	for {
		r, err := client.Reader(t.Context())
		if err != nil {
			code, reason, _ = peerClose(err)
			return messages, code, reason
		}
		raw, err := io.ReadAll(r)
		require.NoError(t, err)
		require.LessOrEqual(t, len(raw), proto.MaxMessage)
		header, _ := proto.Split(raw)
		m, err := proto.Decode(header)
		require.NoError(t, err)
		messages = append(messages, m)
		if _, ok := m.(proto.ExitCode); ok {
			go func() { _ = client.Close(statusNormal, "") }()
		}
	}
}

func TestOutcomeForOldClients(t *testing.T) {
	pid := proto.Pid{Pid: 1}
	messages, _, _ := startOld(t, ending(ExitError{code: -1, error: "signal: killed", signal: "KILL"}))
	require.Equal(t, []any{pid, proto.ExitCode{ExitCode: -1, Error: "signal: killed"}}, messages)

	// Such a client takes every exit_code message for an end of the process, and code 0 for success.
	messages, code, reason := startOld(t, ending(errors.New("inner link broke")))
	require.Equal(t, []any{pid}, messages)
	require.Equal(t, statusInternalError, code)
	require.Contains(t, reason, "inner link broke")

	messages, code, reason = startOld(t, failing{&StartError{exec.ErrNotFound}})
	require.Empty(t, messages)
	require.Equal(t, statusInternalError, code)
	require.Contains(t, reason, exec.ErrNotFound.Error())
}

func TestNoMessageIsTooLarge(t *testing.T) {
	for _, ext := range []*proto.Extensions{nil, {Outcome: true}, &offer} {
		limit := proto.MaxMessage
		if ext != nil && ext.MaxMessage > 0 {
			limit = defaultMaxMessage
		}
		long := strings.Repeat("\x01", 1<<20)
		for name, execer := range map[string]Execer{
			"output": fakeExecer{
				stdin:  disabledStdin{},
				stdout: io.LimitReader(zeros{}, 10<<20), stderr: io.LimitReader(zeros{}, 1<<20),
				wait: func(context.Context) error { return nil },
			},
			"exit error":  ending(NewExitError(1, long)),
			"odd error":   ending(errors.New(long)),
			"start error": failing{errors.New(long)},
		} {
			t.Run(fmt.Sprintf("%+v/%s", ext, name), func(t *testing.T) {
				client, server := wstest.Pipe()
				server.Record()
				go func() {
					err := new(Server).ServeConn(t.Context(), server, execer, nil)
					code, reason := CloseStatus(err)
					_ = server.Close(code, reason)
				}()
				sent := proto.Start{Command: proto.Command{Command: "x"}}
				if ext != nil {
					unlimited := *ext
					unlimited.Window = 0
					sent.Extensions = &unlimited
				}
				msg, err := proto.Encode(sent)
				require.NoError(t, err)
				require.NoError(t, client.Write(t.Context(), msg))
				largest := 0
				for {
					r, err := client.Reader(t.Context())
					if err != nil {
						break
					}
					raw, err := io.ReadAll(r)
					require.NoError(t, err)
					largest = max(largest, len(raw))
					if strings.HasPrefix(string(raw), `{"type":"exit_code"`) {
						go func() { _ = client.Close(statusNormal, "") }()
					}
				}
				require.LessOrEqual(t, largest, limit)
				if name == "output" {
					require.Equal(t, limit, largest, "large enough to be fast")
				}
			})
		}
	}
}

func TestCloseStatus(t *testing.T) {
	for _, tc := range []struct {
		err    error
		code   int
		reason string
	}{
		{nil, 1000, ""},
		{context.Canceled, 1001, "context canceled"},
		{protocolErrorf("bad"), 1002, "bad"},
		{fmt.Errorf("wrapped: %w", ErrBusy), 1013, "wrapped: too many processes"},
		{errors.New("odd"), 1011, "odd"},
		{errors.New(strings.Repeat("é", 100)), 1011, strings.Repeat("é", 61)},
		{errors.New("not UTF-8 \xff"), 1011, "not UTF-8 \uFFFD"},
	} {
		code, reason := CloseStatus(tc.err)
		require.Equal(t, tc.code, code)
		require.Equal(t, tc.reason, reason)
	}
}

func TestExitMessageOfOldServers(t *testing.T) {
	// A v0.2.4 server reports a lost inner connection like this.
	err := outcomeError(proto.ExitCode{ExitCode: 0, Error: "failed to get reader: EOF"})
	require.ErrorContains(t, err, "EOF")
	require.NotErrorAs(t, err, new(ExitError))
	require.NoError(t, outcomeError(proto.ExitCode{}))
	require.Equal(t, ExitError{code: -1, error: "signal: killed"}, outcomeError(proto.ExitCode{ExitCode: -1, Error: "signal: killed"}))
}

// refusingExecer fails the test at a start.
type refusingExecer struct{ t *testing.T }

func (e refusingExecer) Start(context.Context, Command) (Process, error) {
	require.Fail(e.t, "a command was started")
	return nil, errors.ErrUnsupported
}

// TestClientClosesWithoutAsking: a client may close without a start. That is no error.
func TestClientClosesWithoutAsking(t *testing.T) {
	client, served := serveFake(t, refusingExecer{t}, nil)
	require.NoError(t, client.Close(statusNormal, ""))
	require.NoError(t, timetest.Receive(t, served))
}

// slowExecer starts nothing until its context ends.
type slowExecer struct{ starting chan struct{} }

func (e slowExecer) Start(ctx context.Context, _ Command) (Process, error) {
	close(e.starting)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestClientClosesWhileStarting: a client may close during the start. That is no error.
func TestClientClosesWhileStarting(t *testing.T) {
	execer := slowExecer{make(chan struct{})}
	client, served := serveFake(t, execer, nil)
	start, err := proto.Encode(proto.Start{Command: proto.Command{Command: "x"}})
	require.NoError(t, err)
	require.NoError(t, client.Write(t.Context(), start))
	timetest.Receive(t, execer.starting)
	require.NoError(t, client.Close(statusNormal, ""))
	require.NoError(t, timetest.Receive(t, served))
}
