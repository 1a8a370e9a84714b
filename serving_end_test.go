//go:build !windows

package wsep

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wstest"
)

// slowToEnd is a process that exits some time after its context has ended. Its output ends then.
func slowToEnd(takes time.Duration) fakeExecer {
	execer := untilEnded()
	output, held := io.Pipe()
	execer.stdout = output
	execer.wait = func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(takes)
		_ = held.Close()
		return ctx.Err()
	}
	return execer
}

// TestProcessCountsUntilItHasEnded: MaxProcesses counts processes that run, also if their connections are lost.
func TestProcessCountsUntilItHasEnded(t *testing.T) {
	for _, takes := range []time.Duration{endTimeout - time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			srv, opts := new(Server), &Options{MaxProcesses: 1}
			serve := func(ctx context.Context, execer Execer) (client *wstest.Conn, served <-chan error) {
				client, server := wstest.Pipe()
				result := make(chan error, 1)
				go func() {
					defer server.CloseNow()
					result <- srv.ServeConn(ctx, server, execer, opts)
				}()
				return client, result
			}
			ctx, cancel := context.WithCancel(t.Context())
			client, served := serve(ctx, slowToEnd(takes))
			startRaw(t, client, nil)
			cancel()
			began := time.Now()
			require.ErrorIs(t, <-served, context.Canceled)
			require.Equal(t, min(takes, endTimeout), time.Since(began))
			if takes > endTimeout {
				time.Sleep(time.Until(began.Add(takes - time.Nanosecond)))
				refused, _ := serve(t.Context(), slowToEnd(0))
				_, err := RemoteExecerConn(refused).Start(t.Context(), Command{Command: "x"})
				require.ErrorIs(t, err, ErrBusy)
				time.Sleep(time.Nanosecond)
				synctest.Wait()
			}
			next, _ := serve(t.Context(), slowToEnd(0))
			startRaw(t, next, nil)
			_ = next.CloseNow()
		})
	}
}

// TestExitIsLearnedOnce: whoever asks waits for it, and the process's Wait is called once.
func TestExitIsLearnedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDrive(t, new(Server))
		waits := 0
		d.conv.release = func() {}
		d.conv.wait = func() error {
			waits++
			time.Sleep(time.Second)
			return io.ErrClosedPipe
		}
		began := time.Now()
		go d.conv.learnExit()
		synctest.Wait()
		d.conv.learnExit()
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, io.ErrClosedPipe, d.conv.exit)
		require.Equal(t, 1, waits)
		d.conv.cancel()
	})
}

// TestServerEndsDuringStart: a start that the server's end has ended did not fail. The client may come back.
func TestServerEndsDuringStart(t *testing.T) {
	client, server := wstest.Pipe()
	defer client.CloseNow()
	opts := new(Options).withDefaults()
	s := newServing(new(Server), server, untilEnded(), opts)
	s.peer.Outcome = true
	s.conv = newConversation(s, new(proto.Start))
	s.conv.grace = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	s.conv.live(ctx)
	d := newDrive(ctx, s)
	cancel()
	<-s.conv.ctx.Done()
	ended, err := d.begun(started{err: &StartError{io.ErrUnexpectedEOF}})
	require.True(t, ended)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, statusGoingAway, closeCode(err))
}

// TestKillDelayIsWaitedFor: after Serve has returned, no process is left.
func TestKillDelayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const killDelay, group = time.Minute, time.Second
		p := &localProcess{killDelay: killDelay, done: make(chan struct{}), groupDone: make(chan struct{})}
		released := make(chan struct{})
		c := newConversation(newServing(new(Server), nil, nil, new(Options).withDefaults()), new(proto.Start))
		c.process, c.wait, c.release = p, p.Wait, func() { close(released) }
		began := time.Now()
		go func() {
			time.Sleep(killDelay)
			close(p.done)
			time.Sleep(group)
			close(p.groupDone)
		}()
		c.awaitExit()
		require.Equal(t, killDelay+group, time.Since(began))
		require.True(t, isClosed(released))
	})
}
