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

func TestKeepAliveEndsProcessOfSilentClient(t *testing.T) {
	for _, tc := range []struct {
		name string
		ext  *proto.Extensions
	}{{"with flow control", &offer}, {"without", nil}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const every = 15 * time.Second
				client, served := serveFake(t, untilEnded(), nil)
				startRaw(t, client, tc.ext)
				go drain(client)
				time.Sleep(10*every + every/2)
				require.Equal(t, 10, client.Pings(), "one ping every KeepAlive")
				require.Empty(t, served)

				client.Cut()
				cut := time.Now()
				err := <-served
				require.ErrorIs(t, err, ErrDisconnected)
				require.ErrorIs(t, err, errPeerGone)
				require.LessOrEqual(t, time.Since(cut), 2*every)
				_ = client.CloseNow()
			})
		})
	}
}

// TestKeepAliveListens: a peer that sends messages is not pinged.
func TestKeepAliveListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 15 * time.Second
		execer := untilEnded()
		quiet := make(chan struct{})
		execer.stdout = talker{quiet}
		client, server := wstest.Pipe()
		result := make(chan error, 1)
		go func() { result <- new(Server).ServeConn(t.Context(), server, execer, nil) }()
		p, err := RemoteExecerConn(client).Start(t.Context(), Command{Command: "x"})
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, p.Stdout()) }()
		time.Sleep(10*every + every/2)
		require.Zero(t, server.Pings(), "the server talks")
		require.Equal(t, 10, client.Pings(), "the client does not")
		server.Cut()
		cut := time.Now()
		require.ErrorIs(t, p.Wait(), errPeerGone)
		require.LessOrEqual(t, time.Since(cut), 2*every)
		require.Error(t, <-result)
		_ = server.CloseNow()
		close(quiet)
	})
}

// talker is an output with a message every second until quiet is closed.
type talker struct{ quiet <-chan struct{} }

func (o talker) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return copy(p, "word"), nil
	case <-o.quiet:
		return 0, io.EOF
	}
}

func TestKeepAliveIsPatientWithPausedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, program := io.Pipe()
		execer := untilEnded()
		execer.stdout = out
		client, served := serveFake(t, execer, nil)
		startRaw(t, client, nil)
		_, err := program.Write([]byte("the client's user reads none of this"))
		require.NoError(t, err)

		// A v0.2.4 client that waits for its user does not read, so it answers no pings.
		time.Sleep(time.Hour)
		require.Empty(t, served, "a paused reader is not a gone one")

		// It goes on, and then vanishes.
		go drain(client)
		time.Sleep(time.Minute)
		require.Empty(t, served)
		client.Cut()
		require.ErrorIs(t, <-served, errPeerGone)
		_ = client.CloseNow()
		_ = program.Close()
	})
}

func TestKeepAliveIsNotPatientWithFlowControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, served := serveFake(t, untilEnded(), nil)
		startRaw(t, client, &offer)
		// A client with flow control always reads.
		require.ErrorIs(t, <-served, errPeerGone)
		_ = client.CloseNow()
	})
}

func TestKeepAliveDuringBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		execer := untilEnded()
		execer.stdout = zeros{}
		client, served := serveFake(t, execer, &Options{KeepAlive: time.Second})
		startRaw(t, client, nil)
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for client.Pings() < 5 {
				r, err := client.Reader(context.Background())
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r)
				time.Sleep(time.Millisecond) // A slow reader.
			}
		}()
		began := time.Now()
		<-stop
		require.Equal(t, 5, client.Pings())
		require.Less(t, time.Since(began), 6*time.Second, "bulk data starves no ping")
		_ = client.CloseNow()
		<-served
	})
}

func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		execer := untilEnded()
		execer.stdout = zeros{}
		client, served := serveFake(t, execer, &Options{WriteTimeout: time.Minute, KeepAlive: -1})
		startRaw(t, client, nil)
		began := time.Now()
		err := <-served
		require.ErrorIs(t, err, ErrDisconnected)
		require.Equal(t, time.Minute, time.Since(began))
		_ = client.CloseNow()
	})
}

func TestNoWriteTimeoutByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		execer := untilEnded()
		execer.stdout = zeros{}
		client, served := serveFake(t, execer, nil)
		startRaw(t, client, nil)
		time.Sleep(24 * time.Hour)
		require.Empty(t, served)
		_ = client.CloseNow()
		<-served
	})
}

func TestStartTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, served := serveFake(t, untilEnded(), nil)
		began := time.Now()
		err := <-served
		require.Equal(t, 10*time.Second, time.Since(began))
		code, reason := CloseStatus(err)
		require.Equal(t, statusPolicy, code)
		require.NotEmpty(t, reason)
		_ = client.CloseNow()
	})
}

func TestRemoteNoticesSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := wstest.Pipe()
		result := make(chan error, 1)
		go func() { result <- new(Server).ServeConn(t.Context(), server, untilEnded(), nil) }()
		p, err := RemoteExecerConn(client).Start(t.Context(), Command{Command: "x"})
		require.NoError(t, err)
		time.Sleep(time.Hour)
		server.Cut()
		cut := time.Now()
		err = p.Wait()
		require.ErrorIs(t, err, ErrDisconnected)
		require.LessOrEqual(t, time.Since(cut), 2*defaultKeepAlive)
		require.Error(t, <-result)
		_ = server.CloseNow()
	})
}

// TestServerVanishesDuringStart: a server that gives marks, and takes long to start a command, is cut off.
func TestServerVanishesDuringStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := wstest.Pipe()
		serving := make(chan error, 1)
		go func() { serving <- new(Server).ServeConn(t.Context(), server, neverStarting{}, nil) }()
		started := make(chan error, 1)
		dial := func(context.Context) (Conn, error) { return markedConn{client, "mark"}, nil }
		go func() {
			_, err := Dialer{Dial: dial, Resume: -1}.Start(t.Context(), Command{Command: "x"})
			started <- err
		}()
		time.Sleep(time.Hour)
		require.Empty(t, started, "the server answers pings")
		server.Cut()
		cut := time.Now()
		require.ErrorIs(t, <-started, ErrDisconnected)
		require.LessOrEqual(t, time.Since(cut), 2*defaultKeepAlive)
		_ = server.CloseNow()
		require.Error(t, <-serving)
	})
}

// TestKeepAliveDuringStart: a client vanishes while its command starts.
func TestKeepAliveDuringStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 15 * time.Second
		client, server := wstest.Pipe()
		result := make(chan error, 1)
		go func() { result <- new(Server).ServeConn(t.Context(), server, neverStarting{}, nil) }()
		started := make(chan error, 1)
		go func() {
			_, err := RemoteExecerConn(client).Start(t.Context(), Command{Command: "x"})
			started <- err
		}()
		time.Sleep(10*every + every/2)
		require.Empty(t, result)
		require.Equal(t, 10, client.Pings())
		client.Cut()
		cut := time.Now()
		require.ErrorIs(t, <-result, errPeerGone)
		require.LessOrEqual(t, time.Since(cut), 2*every)
		_ = server.CloseNow()
		_ = client.CloseNow()
		require.ErrorIs(t, <-started, ErrDisconnected)
	})
}

// neverStarting is an Execer whose commands take for ever to start.
type neverStarting struct{}

func (neverStarting) Start(ctx context.Context, _ Command) (Process, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestServerWaitsUntilClientHasReadAll: a close too early would lose messages that are still on the way.
func TestServerWaitsUntilClientHasReadAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		execer := untilEnded()
		execer.stdout = strings.NewReader("the last words")
		execer.wait = func(context.Context) error { return nil }
		client, served := serveFake(t, execer, nil)
		startRaw(t, client, nil)
		time.Sleep(time.Hour)
		require.Empty(t, served, "the client has read nothing yet")

		var got []string
		for range 2 {
			r, err := client.Reader(t.Context())
			require.NoError(t, err)
			msg, err := io.ReadAll(r)
			require.NoError(t, err)
			got = append(got, string(msg))
		}
		require.Contains(t, got[0], "the last words")
		require.Contains(t, got[1], `"exit_code":0`)
		began := time.Now()
		go drain(client)
		require.NoError(t, <-served)
		require.Equal(t, closeGrace, time.Since(began), "a client that does not close is left")
		_ = client.CloseNow()
	})
}

func TestContextEndsServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, server := wstest.Pipe()
		result := make(chan error, 1)
		go func() { result <- new(Server).ServeConn(ctx, server, untilEnded(), nil) }()
		startRaw(t, client, nil)
		cancel()
		err := <-result
		require.True(t, errors.Is(err, context.Canceled))
		code, _ := CloseStatus(err)
		require.Equal(t, statusGoingAway, code)

		// The caller closes the connection. If it does not, the server does.
		_, err = client.Reader(context.Background())
		require.ErrorIs(t, err, io.EOF)
	})
}

// TestKeepAliveNoticesThatATalkerIsGone: a client without flow control is pinged although it sends messages. The pong proves
// that it has read everything. After that its silence counts.
func TestKeepAliveNoticesThatATalkerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		execer, quiet := untilEnded(), make(chan struct{})
		execer.stdin, execer.stdout = nopCloser{io.Discard}, talker{quiet}
		client, served := serveFake(t, execer, nil)
		startRaw(t, client, nil)
		go drain(client)
		for second := range 300 {
			time.Sleep(time.Second)
			require.NoError(t, client.Write(t.Context(), []byte(`{"type":"resize","rows":1,"cols":1}`)))
			if second == 100 {
				close(quiet) // The answer to the next ping proves that all messages have been read.
			}
		}
		client.Cut()
		time.Sleep(2 * defaultKeepAlive)
		noticed := len(served) == 1
		_ = client.CloseNow()
		require.ErrorIs(t, <-served, ErrDisconnected)
		require.True(t, noticed)
	})
}

// holdingConn is a Conn whose writes can be held back.
type holdingConn struct {
	*wstest.Conn
	hold, free chan struct{}
}

func (c holdingConn) Write(ctx context.Context, p []byte) error {
	if isClosed(c.hold) {
		<-c.free
	}
	return c.Conn.Write(ctx, p)
}

// TestKeepAliveIsPatientWithTheFirstMessage: a client without flow control stops reading, and the next message can't be
// written.
func TestKeepAliveIsPatientWithTheFirstMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, program := io.Pipe()
		execer := untilEnded()
		execer.stdout = out
		client, pipe := wstest.Pipe()
		server := holdingConn{pipe, make(chan struct{}), make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- new(Server).ServeConn(t.Context(), server, execer, nil) }()
		startRaw(t, client, nil)
		go drain(client)
		time.Sleep(5 * defaultKeepAlive / 2)
		close(server.hold)
		_, err := program.Write([]byte("one message"))
		require.NoError(t, err)
		time.Sleep(time.Hour)
		early := len(served)
		close(server.free)
		_ = client.CloseNow()
		_ = program.Close()
		<-served
		_ = server.CloseNow()
		require.Zero(t, early, "a paused reader is not a gone one")
	})
}

// deafConn is a Conn that takes a pong only while a reader waits for a message, as the libraries' connections do.
type deafConn struct {
	*wstest.Conn
	reading atomic.Bool
}

func (c *deafConn) Reader(ctx context.Context) (io.Reader, error) {
	c.reading.Store(true)
	defer c.reading.Store(false)
	return c.Conn.Reader(ctx)
}

func (c *deafConn) Ping(ctx context.Context) error {
	if c.reading.Load() {
		return c.Conn.Ping(ctx)
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestKeepAliveDoesNotJudgeWhileDeaf: while the server waits for a process to read its stdin, it takes no pongs. So it can't
// know whether the client is lost.
func TestKeepAliveDoesNotJudgeWhileDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, stdin := io.Pipe() // Nobody reads it.
		execer := untilEnded()
		execer.stdin = stdin
		client, pipe := wstest.Pipe()
		server := &deafConn{Conn: pipe}
		served := make(chan error, 1)
		go func() { served <- new(Server).ServeConn(t.Context(), server, execer, nil) }()
		msg, err := proto.Encode(proto.Start{Command: proto.Command{Command: "x", Stdin: new(true)}})
		require.NoError(t, err)
		require.NoError(t, client.Write(t.Context(), msg))
		go drain(client)
		go func() {
			piece := append([]byte(proto.StdinHeader), make([]byte, 60000)...)
			for client.Write(context.Background(), piece) == nil {
			}
		}()
		time.Sleep(time.Hour)
		early := len(served)
		_ = client.CloseNow()
		_ = in.Close()
		_ = server.CloseNow()
		<-served
		time.Sleep(time.Minute) // The last ping, which does not notice the connection's end, ends by then.
		require.Zero(t, early, "the client is there")
	})
}

// impatientConn is a connection whose peer does not answer. Like the libraries it would be closed by a ping without time left.
type impatientConn struct {
	scriptConn
	t      *testing.T
	pinged bool
}

func (c *impatientConn) Ping(ctx context.Context) error {
	if c.pinged && ctx.Err() != nil {
		c.t.Error("a ping without time left")
	}
	c.pinged = true
	<-ctx.Done()
	return ctx.Err()
}

// TestNoPingWithoutTime: the end of a probe's time is no reason to ping again.
func TestNoPingWithoutTime(t *testing.T) {
	for range 1000 {
		l := &link{conn: &impatientConn{t: t}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Microsecond)
		_ = l.answers(ctx)
		cancel()
	}
}
