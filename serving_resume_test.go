package wsep

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wstest"
)

// newTestDrive returns a drive of a conversation that may be resumed.
func newTestDrive(t *testing.T, srv *Server) *drive {
	_, server := wstest.Pipe()
	return newTestDriveOver(t, srv, server)
}

func newTestDriveOver(t *testing.T, srv *Server, server Conn) *drive {
	s := newServing(srv, server, untilEnded(), new(Options).withDefaults())
	s.conv = newConversation(s, new(proto.Start))
	s.conv.grace = time.Minute
	s.conv.live(t.Context())
	return newDrive(t.Context(), s)
}

// takeOverFrom asks for a drive's conversation over another connection.
func takeOverFrom(t *testing.T, d *drive, attempt int64, leave bool) error {
	s := newServing(d.server, nil, d.execer, d.opts)
	if leave {
		s.readErr <- &wstest.CloseError{Code: statusNormal}
	}
	return s.takeOver(t.Context(), d.conv, attempt)
}

// TestLeaveBeforeTheTakeover: a client sends resume, and then its last word, before the other connection has let go. That ends
// the conversation, and no second drive begins.
func TestLeaveBeforeTheTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDrive(t, new(Server))
		require.Equal(t, errLeft, takeOverFrom(t, d, 0, true))
		require.Error(t, d.conv.ctx.Err())
	})
}

// TestTakeoverIsOfferedInVain: another connection does not let go.
func TestTakeoverIsOfferedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDrive(t, new(Server))
		began := time.Now()
		err := takeOverFrom(t, d, 0, false)
		var refused *resumeError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, proto.ResumeTaken, refused.kind)
		require.Equal(t, takeoverTimeout, time.Since(began))
		select {
		case <-d.conn.(*wstest.Conn).Closed():
		default:
			require.Fail(t, "the connection that does not let go was not closed")
		}
		d.conv.cancel()
	})
}

// TestDetachWaitsForTheReader: until the reader of a lost connection has ended, it may still have stdin for the process. The next
// connection must not say before that how much has come.
func TestDetachWaitsForTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDrive(t, new(Server))
		began := time.Now()
		time.AfterFunc(time.Second, func() { close(d.closed) })
		d.detach()
		require.Equal(t, time.Second, time.Since(began))
		d.conv.cancel()
	})
}

// TestTakeoverLeavesNothingBehind: once a connection has the conversation, the drive before it does nothing to it any more.
func TestTakeoverLeavesNothingBehind(t *testing.T) {
	for _, detached := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			srv := new(Server)
			d := newTestDrive(t, srv)
			close(d.closed)
			if detached {
				d.detach()
			}
			ended := make(chan error, 1)
			go func() {
				_, err := d.step()
				ended <- err
			}()
			require.NoError(t, takeOverFrom(t, d, 0, false))
			srv.mu.Lock()
			require.Empty(t, srv.detached)
			srv.mu.Unlock()
			require.False(t, d.unbind(), "the end of its Serve's context was the conversation's end")
			require.Equal(t, errTaken, <-ended)
			d.conv.cancel()
		})
	}
}

// TestFencedReader: once another connection has the conversation, nothing is taken from this one.
func TestFencedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := wstest.Pipe()
		s := newServing(new(Server), server, untilEnded(), new(Options).withDefaults())
		s.fenced.Store(true)
		say(t, client, proto.Start{Command: proto.Command{Command: "x"}})
		require.Equal(t, errTaken, s.take())
		require.False(t, s.asked)
	})
}

// TestFencedOffMessages: another connection takes over, and the client of this one talks on until it reads that. The
// conversation takes nothing of it.
func TestFencedOffMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := wstest.Pipe()
		d := newTestDriveOver(t, new(Server), server)
		d.asked, d.conv.stdinOn = true, true
		go d.read()
		go func() { _, _ = d.step() }()
		granted := make(chan error, 1)
		go func() { granted <- takeOverFrom(t, d, 0, false) }()
		synctest.Wait()
		require.Empty(t, granted, "the client has time to read why its connection is closed")
		require.NoError(t, client.Write(t.Context(), []byte(proto.StdinHeader+"late")))
		require.NoError(t, <-granted)
		require.Zero(t, d.conv.stdin.Received())
		d.conv.cancel()
		_ = client.CloseNow()
	})
}

// TestLateTakeover: a later attempt was made while this one waited.
func TestLateTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDrive(t, new(Server))
		d.conv.attempt = 2
		ended := make(chan bool, 1)
		go func() {
			e, _ := d.step()
			ended <- e
		}()
		require.Equal(t, errLate, takeOverFrom(t, d, 1, false))
		require.False(t, <-ended)
		d.conv.cancel()
	})
}

// TestLeaveCountsThoughAWriteFails: the failed write is noticed before the client's last word.
func TestLeaveCountsThoughAWriteFails(t *testing.T) {
	for code, leaves := range map[int]bool{statusNormal: true, statusGoingAway: false} {
		synctest.Test(t, func(t *testing.T) {
			d := newTestDrive(t, new(Server))
			time.AfterFunc(goodbyeGrace/2, func() {
				requireOpen(t, d.conn)
				d.readErr <- &wstest.CloseError{Code: code}
				close(d.closed)
			})
			ended, err := d.connectionLost(io.ErrClosedPipe)
			require.NoError(t, err)
			require.Equal(t, leaves, ended)
			d.release()
			d.stopTimer()
			d.conv.cancel()
		})
	}
}

func requireOpen(t *testing.T, c Conn) {
	t.Helper()
	require.False(t, isClosed(c.(*wstest.Conn).Closed()))
}

// TestLeaveIsReadThoughWritesFail: after a client's close frame its writes and pings fail. That must not close the connection
// before the server has read the frame.
func TestLeaveIsReadThoughWritesFail(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			client, server := wstest.Pipe()
			l := newClientLink(t.Context(), client)
			if leaves {
				l.close(true)
				synctest.Wait()
			}
			l.fail(io.ErrClosedPipe)
			l.giveUp(io.ErrClosedPipe)
			require.Equal(t, !leaves, isClosed(client.Closed()))
			if leaves {
				_, err := server.Reader(t.Context())
				code, _, _ := peerClose(err)
				require.Equal(t, statusNormal, code)
				_ = server.CloseNow()
				<-l.closed
			}
			l.endUse()
		})
	}
}

// TestForwardedLeaveCountsThoughAWriteFails: the same at a gateway. It must end the conversation at the next hop.
func TestForwardedLeaveCountsThoughAWriteFails(t *testing.T) {
	for code, leaves := range map[int]bool{statusNormal: true, statusGoingAway: false} {
		synctest.Test(t, func(t *testing.T) {
			d := newTestDrive(t, new(Server))
			f := &forward{drive: d}
			time.AfterFunc(goodbyeGrace/2, func() {
				d.readErr <- &wstest.CloseError{Code: code}
				close(d.closed)
			})
			err := f.lastWord(io.ErrClosedPipe)
			require.Equal(t, leaves, err == nil)
			require.Equal(t, !leaves, errors.Is(err, io.ErrClosedPipe))
			d.conv.cancel()
		})
	}
}

// holdsKey makes a drive's conversation known by a key.
func (d *drive) holdsKey(key *proto.Key) {
	d.conv.key = hashKey(key)
	d.server.byKey = map[keyHash]*conversation{d.conv.key: d.conv}
}

// TestNextHopHoldsWhatEndsHere: a gateway's conversation is over while its client asks for it. The next hop holds it.
func TestNextHopHoldsWhatEndsHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := newTestDrive(t, new(Server))
		d.conv.failed = &StartError{xerrors.New("no")}
		key := proto.Key{1}
		d.holdsKey(&key)
		next := Dialer{KeepAlive: -1, Dial: dialPipe(func(far *wstest.Conn) {
			require.Equal(t, nextKey(&key, ""), nextMessage[proto.Resume](t, far).Key)
			say(t, far, proto.Resumed{Pid: 7, Extensions: &granted})
			<-ctx.Done()
			_ = far.CloseNow()
		})}
		client, server := wstest.Pipe()
		s := newServing(d.server, server, next, d.opts)
		time.AfterFunc(time.Second/2, func() { d.conv.finish(true) })
		served := make(chan error, 1)
		go func() {
			err := s.run(ctx)
			_ = server.Close(CloseStatus(err))
			served <- err
		}()
		say(t, client, proto.Resume{Key: key, Extensions: &granted})
		require.Contains(t, nextText(t, client), `"type":"resumed","pid":7`)
		cancel()
		require.Error(t, <-served)
		_ = client.CloseNow()
	})
}

// TestConversationEndsUnderAResume: the conversation is found, and then it is over. The client learns what it would have learned
// a moment later.
func TestConversationEndsUnderAResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := new(Server)
		d := newTestDrive(t, srv)
		d.conv.failed = &StartError{xerrors.New("no")}
		var key proto.Key
		d.holdsKey(&key)
		client, server := wstest.Pipe()
		s := newServing(srv, server, untilEnded(), d.opts)
		time.AfterFunc(time.Second/2, func() { d.conv.finish(true) })
		go func() { _ = s.resume(t.Context(), &proto.Resume{Key: key, Server: srv.mark(d.opts.Owner)}) }()
		require.Contains(t, nextText(t, client), `"never":true`)
	})
}

// gapped is a process whose client does not get all output.
type gapped struct {
	Process
	gaps
}

// TestSkippedFollowsPid: bytes may be skipped before the client was sent pid, and while it is away. It is told once it listens.
func TestSkippedFollowsPid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := wstest.Pipe()
		server.Record()
		d := newTestDriveOver(t, new(Server), server)
		p := &gapped{}
		p.onSkip(d.conv.tellSkipped)
		skips := func(n int64) {
			p.stdout.Add(n)
			p.grown()
		}
		d.conv.process, d.conv.knowsGaps = p, true
		skips(1)
		require.Empty(t, server.Sent())
		go func() {
			_ = d.send(proto.Pid{Pid: 7})
			d.attach()
			skips(2)
			d.conv.detach(&d.link)
			skips(4)
			d.conv.attach(&d.link, &d.peer)
		}()
		nextMessage[proto.Pid](t, client)
		for _, want := range []int64{1, 3, 7} {
			require.Equal(t, want, nextMessage[proto.Skipped](t, client).Stdout)
		}
		synctest.Wait()
		require.Len(t, server.Sent(), 4)
		d.endPhase()
		d.conv.cancel()
	})
}

// TestTruthWaitsForTheClient: what the client can't be told now, because it is away, it is told when it is back.
func TestTruthWaitsForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDrive(t, new(Server))
		r := report{final: xerrors.New("output was cut")}
		ended, err := d.hasReported(r)
		require.True(t, ended)
		require.Equal(t, r.final, err)
		d.detached = true
		ended, err = d.hasReported(r)
		require.False(t, ended)
		require.NoError(t, err)
		d.conv.cancel()
	})
}

// TestWindowIsBounded: a client that offers a huge window, and acknowledges nothing, costs no more than any other.
func TestWindowIsBounded(t *testing.T) {
	s := newSender(proto.StdoutHeader, nil)
	s.attach(&link{conn: &nullConn{}}, &proto.Extensions{Window: 1 << 40})
	require.EqualValues(t, maxUnacknowledged, s.out.Room())
}
