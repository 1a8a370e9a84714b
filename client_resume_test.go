package wsep

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wstest"
)

// switchboard hands the far ends of a Dialer's connections to the test.
type switchboard struct {
	made  chan *wstest.Conn
	dials atomic.Int32 // how many were tried
	down  bool         // no connection can be made
	slow  bool         // none is made for now
	mark  string

	window int64 // what the server agrees to; 0 means as granted says
}

func newSwitchboard() *switchboard { return &switchboard{made: make(chan *wstest.Conn, 1000)} }

func (s *switchboard) dial(ctx context.Context) (Conn, error) {
	s.dials.Add(1)
	if s.down {
		return nil, errors.New("the line is cut")
	}
	if s.slow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	near, far := wstest.Pipe()
	s.made <- far
	return markedConn{near, s.mark}, nil
}

// markedConn is a connection to a server that gives marks.
type markedConn struct {
	*wstest.Conn
	mark string
}

func (c markedConn) ServerMark() string { return c.mark }

// granted is what the test's server agrees to.
var granted = proto.Extensions{Window: 1 << 16, Signal: true, Outcome: true, Resume: 60}

// start starts a command over the switchboard. The process has its connection's far end.
func (s *switchboard) start(ctx context.Context, t *testing.T) (Process, *wstest.Conn) {
	answered := make(chan *wstest.Conn, 1)
	go func() {
		far := <-s.made
		_ = nextMessage[proto.Start](t, far)
		agreed := granted
		if s.window > 0 {
			agreed.Window = s.window
		}
		say(t, far, proto.Pid{Pid: 1, Extensions: &agreed})
		answered <- far
	}()
	p, err := Dialer{Dial: s.dial, KeepAlive: -1}.Start(ctx, Command{Command: "x", Stdin: true})
	require.NoError(t, err)
	return p, <-answered
}

// TestTakenIsFinal: a client does not answer a takeover by coming back.
func TestTakenIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitchboard()
		p, far := s.start(t.Context(), t)
		go func() { _ = far.Close(statusTaken, "taken") }()
		require.ErrorIs(t, p.Wait(), ErrDisconnected)
		time.Sleep(2 * time.Minute)
		require.Empty(t, s.made)
	})
}

// TestGoodbyeIsAnsweredAtOnce: a server that says goodbye is expected back. After any other loss there is a pause.
func TestGoodbyeIsAnsweredAtOnce(t *testing.T) {
	for code, atOnce := range map[int]bool{statusGoingAway: true, statusRestart: true, statusNormal: false, statusInternalError: false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			s := newSwitchboard()
			p, far := s.start(ctx, t)
			began := time.Now()
			go func() { _ = far.Close(code, "goodbye") }()
			far = <-s.made
			require.Equal(t, atOnce, time.Since(began) == 0, "code %d", code)
			require.Less(t, time.Since(began), time.Second)
			_ = far.CloseNow()
			s.down = true
			cancel()
			require.ErrorIs(t, p.Wait(), context.Canceled)
			time.Sleep(2 * leaveTimeout)
		})
	}
}

// TestNoAnswerToResume: a server that does not answer does not know the question, unless it gives marks.
func TestNoAnswerToResume(t *testing.T) {
	for _, mark := range []string{"", "a.1"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSwitchboard()
			p, far := s.start(t.Context(), t)
			s.mark = mark
			_ = far.CloseNow()
			far = <-s.made
			_ = nextMessage[proto.Resume](t, far)
			began := time.Now()
			if mark == "" {
				require.ErrorIs(t, p.Wait(), ErrResumeFailed)
				require.Equal(t, answerTimeout, time.Since(began))
				return
			}
			far = <-s.made
			require.GreaterOrEqual(t, time.Since(began), answerTimeout)
			ask := nextMessage[proto.Resume](t, far)
			require.EqualValues(t, 2, ask.Attempt)
			require.Empty(t, ask.Server, "pid has come")
			say(t, far, proto.Resumed{Pid: 1, Extensions: &granted})
			say(t, far, proto.ExitCode{})
			require.NoError(t, p.Wait())
			_ = far.CloseNow()
		})
	}
}

// TestQuietIsAcknowledged: what was consumed is acknowledged within a second, at either end, and again over the next connection.
func TestQuietIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitchboard()
		p, far := s.start(t.Context(), t)
		require.NoError(t, far.Write(t.Context(), []byte(proto.StdoutHeader+"few")))
		_, err := io.ReadFull(p.Stdout(), make([]byte, 3))
		require.NoError(t, err)
		began := time.Now()
		require.EqualValues(t, 3, nextMessage[proto.Ack](t, far).Stdout)
		require.Equal(t, quietAck, time.Since(began))
		_ = far.CloseNow()
		far = <-s.made
		require.EqualValues(t, 3, nextMessage[proto.Resume](t, far).Stdout)
		say(t, far, proto.Resumed{Pid: 1, Extensions: &granted})
		require.EqualValues(t, 3, nextMessage[proto.Ack](t, far).Stdout)
		say(t, far, proto.ExitCode{})
		require.NoError(t, p.Wait())
		_ = far.CloseNow()
	})
	synctest.Test(t, func(t *testing.T) {
		execer := untilEnded()
		execer.stdin = nopCloser{io.Discard}
		client, served := serveFake(t, execer, nil)
		say(t, client, proto.Start{
			Command: proto.Command{Command: "x", Stdin: new(true)}, Key: &proto.Key{1}, Extensions: &granted,
		})
		_ = nextMessage[proto.Pid](t, client)
		began := time.Now()
		require.NoError(t, client.Write(t.Context(), []byte(proto.StdinHeader+"few")))
		require.EqualValues(t, 3, nextMessage[proto.Ack](t, client).Stdin)
		require.Equal(t, quietAck, time.Since(began))
		_ = client.Close(statusNormal, "")
		require.NoError(t, <-served)
	})
}

// TestStdinIsSentAgain: the server lacks some of stdin, and what was asked of it after that. Both come again, in their order.
func TestStdinIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitchboard()
		p, far := s.start(t.Context(), t)
		_, err := io.WriteString(p.Stdin(), "0123456789")
		require.NoError(t, err)
		require.NoError(t, p.Stdin().Close())
		synctest.Wait()
		require.NoError(t, p.(Signaler).Signal(t.Context(), "USR1"))
		synctest.Wait()
		_ = far.CloseNow()
		far = <-s.made
		_ = nextMessage[proto.Resume](t, far)
		say(t, far, proto.Resumed{Pid: 1, Stdin: 4, Extensions: &granted})
		require.Equal(t, proto.StdinHeader+"456789", nextText(t, far))
		require.EqualValues(t, 1, nextMessage[proto.CloseStdin](t, far).Seq)
		require.EqualValues(t, 2, nextMessage[proto.Signal](t, far).Seq)
		say(t, far, proto.ExitCode{})
		require.NoError(t, p.Wait())
		_ = far.CloseNow()
	})
}

// TestEndOfStdinIsSentAgain: the end of stdin comes behind its last byte, also over another connection, however long stdin takes.
func TestEndOfStdinIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitchboard()
		s.window = defaultWindow
		p, far := s.start(t.Context(), t)
		go drain(far)
		_, err := io.WriteString(p.Stdin(), strings.Repeat("x", defaultWindow))
		require.NoError(t, err)
		require.NoError(t, p.Stdin().Close())
		synctest.Wait()
		_ = far.CloseNow()
		far = <-s.made
		_ = nextMessage[proto.Resume](t, far)
		say(t, far, proto.Resumed{Pid: 1, Extensions: &granted})
		synctest.Wait() // Not all of stdin fits into the connection.
		for received := 0; received < defaultWindow; {
			msg := nextText(t, far)
			require.True(t, strings.HasPrefix(msg, proto.StdinHeader), "%.40q after %d bytes", msg, received)
			received += len(msg) - len(proto.StdinHeader)
		}
		require.EqualValues(t, 1, nextMessage[proto.CloseStdin](t, far).Seq)
		say(t, far, proto.ExitCode{})
		require.NoError(t, p.Wait())
		_ = far.CloseNow()
	})
}

// TestEndWhileAway: a process is canceled or closed while it has no connection, whatever it waits for, and whether it has
// exited or not. That ends it soon, and nothing is left.
func TestEndWhileAway(t *testing.T) {
	states := map[string]func(s *switchboard){
		"nothing there": func(s *switchboard) { s.down = true },
		"dialing":       func(s *switchboard) { s.slow = true },
		"no answer":     func(s *switchboard) { s.mark = "a.1" },
	}
	for name, lose := range states {
		for _, exited := range []bool{false, true} {
			for _, end := range []string{"cancel", "close", "both"} {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					s := newSwitchboard()
					p, far := s.start(ctx, t)
					if exited {
						say(t, far, proto.ExitCode{Pending: true})
						require.NoError(t, p.Wait())
					}
					lose(s)
					_ = far.CloseNow()
					time.Sleep(time.Second)
					began := time.Now()
					if end != "cancel" {
						require.NoError(t, p.Close())
					}
					if end != "close" {
						cancel()
					}
					_, err := io.ReadAll(p.Stdout())
					require.ErrorIs(t, err, ErrDisconnected, "%s, %s", name, end)
					require.LessOrEqual(t, time.Since(began), remoteCloseTimeout+goodbyeGrace)
					require.Equal(t, exited, p.Wait() == nil)
					_, err = p.Stdin().Write([]byte("x"))
					require.Error(t, err)
					time.Sleep(leaveTimeout + 5*time.Second) // A close handshake may take that.
					tried := s.dials.Load()
					time.Sleep(time.Minute)
					require.Equal(t, tried, s.dials.Load(), "%s, %s: nobody wants the process any more", name, end)
				})
			}
		}
	}
}
