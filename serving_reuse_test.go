package wsep

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/timetest"
	"cdr.dev/wsep/internal/wstest"
)

// reusable are the extensions of a client that uses connections again.
var reusable = &proto.Extensions{Window: 1 << 16, Outcome: true, Reuse: true}

// exitsAtOnce is an Execer whose processes exit with 0.
func exitsAtOnce() fakeExecer {
	return fakeExecer{stdin: nopCloser{}, stdout: noOutput{}, stderr: noOutput{}, wait: func(context.Context) error { return nil }}
}

// converse has a conversation to its last message. Something may come before the exit message.
func converse(t *testing.T, client Conn) {
	t.Helper()
	startRaw(t, client, reusable)
	require.Contains(t, nextText(t, client), `"type":"exit_code"`)
}

func TestServeGoesOnAfterDone(t *testing.T) {
	client, served := serveFake(t, exitsAtOnce(), nil)
	for i := range 10 {
		converse(t, client)
		if i%2 == 0 { // A start says it too.
			say(t, client, proto.Done{})
		}
	}
	require.NoError(t, client.Close(statusNormal, ""))
	require.NoError(t, timetest.Receive(t, served))
}

// TestDoneEndsTheProcess: to the conversation, done is the client's 1000.
func TestDoneEndsTheProcess(t *testing.T) {
	ended := make(chan struct{})
	execer := untilEnded()
	until := execer.wait
	execer.wait = func(ctx context.Context) error {
		defer close(ended)
		return until(ctx)
	}
	client, served := serveFake(t, execer, nil)
	startRaw(t, client, reusable)
	say(t, client, proto.Done{})
	timetest.Receive(t, ended)
	require.NoError(t, client.Close(statusNormal, ""))
	require.NoError(t, timetest.Receive(t, served))
}

func TestBadReuseIsRefused(t *testing.T) {
	start := proto.Start{Command: proto.Command{Command: "x"}, Extensions: reusable}
	for name, test := range map[string]struct {
		execer Execer
		opts   *Options
		offer  *proto.Extensions
		say    []any
		want   string
	}{
		"done without reuse":                    {untilEnded(), nil, &proto.Extensions{Window: 1 << 16, Outcome: true}, []any{proto.Done{}}, "done without reuse"},
		"done of a client without flow control": {untilEnded(), nil, &proto.Extensions{Outcome: true, Reuse: true}, []any{proto.Done{}}, "done without reuse"},
		"done where the server does not reuse":  {untilEnded(), &Options{MaxLife: -1}, reusable, []any{proto.Done{}}, "done without reuse"},
		"start while the command runs":          {untilEnded(), nil, reusable, []any{start}, "command already started"},
		"a request between two commands":        {untilEnded(), nil, reusable, []any{proto.Done{}, proto.Close{}}, "close sent before command started"},
		"done twice":                            {untilEnded(), nil, reusable, []any{proto.Done{}, proto.Done{}}, "done sent before command started"},
	} {
		t.Run(name, func(t *testing.T) {
			client, served := serveFake(t, test.execer, test.opts)
			startRaw(t, client, test.offer)
			for _, m := range test.say {
				say(t, client, m)
			}
			err := timetest.Receive(t, served)
			require.ErrorContains(t, err, test.want)
			code, _ := CloseStatus(err)
			require.Equal(t, statusProtocolError, code)
		})
	}
}

// TestRestIsBounded: a connection gets no further conversation, and does not rest, once MaxLife is over.
func TestRestIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, served := serveFake(t, exitsAtOnce(), &Options{MaxLife: time.Minute, StartTimeout: time.Second})
		converse(t, client)
		say(t, client, proto.Done{})
		time.Sleep(59 * time.Second)
		converse(t, client)
		say(t, client, proto.Done{})
		began := time.Now()
		require.NoError(t, <-served)
		require.Equal(t, time.Second, time.Since(began))

		client, served = serveFake(t, untilEnded(), &Options{MaxLife: time.Minute, KeepAlive: -1})
		startRaw(t, client, reusable)
		time.Sleep(time.Hour) // What runs goes on.
		say(t, client, proto.Done{})
		require.NoError(t, <-served)
	})
}

func TestLossOfARestingConnectionIsNoError(t *testing.T) {
	client, served := serveFake(t, exitsAtOnce(), nil)
	converse(t, client)
	say(t, client, proto.Done{})
	// The next message shows that done was read.
	say(t, client, proto.Start{Command: proto.Command{Command: "x"}, Extensions: reusable})
	require.Contains(t, nextText(t, client), `"type":"pid"`)
	require.Contains(t, nextText(t, client), `"type":"exit_code"`)
	say(t, client, proto.Done{})
	require.NoError(t, client.CloseNow())
	require.NoError(t, timetest.Receive(t, served))
}

// TestClientAtRest has a server that says something between done and pid.
func TestClientAtRest(t *testing.T) {
	const ack = `{"type":"ack","stdin":12,"seq":3}`
	for name, test := range map[string]struct {
		late []string // what the server says after done
		dial int      // how many connections two commands need
	}{
		"nothing":        {nil, 1},
		"late acks":      {[]string{ack, ack, ack}, 1},
		"a long message": {[]string{strings.Repeat(" ", 1000) + ack}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dialed := 0
				d := Dialer{MaxIdle: 1, Dial: func(context.Context) (Conn, error) {
					dialed++
					client, server := wstest.Pipe()
					go func() {
						for serveOnce(t, server, test.late) == nil {
						}
						_ = server.CloseNow()
					}()
					return markedConn{client, "mark"}, nil
				}}
				for range 2 {
					p, err := d.Start(t.Context(), Command{Command: "x"})
					require.NoError(t, err)
					require.NoError(t, p.Wait())
					synctest.Wait() // The server has said what it has to say.
				}
				require.Equal(t, test.dial, dialed)
				d.CloseIdleConnections()
				time.Sleep(time.Minute)
			})
		})
	}
}

// serveOnce plays a server that carries one conversation.
func serveOnce(t *testing.T, conn Conn, late []string) error {
	for _, typ := range []string{proto.TypeStart, proto.TypeDone} {
		r, err := conn.Reader(context.Background())
		if err != nil {
			return err
		}
		msg, err := readAll(nil, r)
		if err != nil {
			return err
		}
		require.Contains(t, string(msg), fmt.Sprintf(`"type":%q`, typ))
		if typ == proto.TypeStart {
			say(t, conn, proto.Pid{Pid: 1, Server: "mark", Extensions: &proto.Extensions{Window: 1 << 16, Outcome: true, Resume: 60, Reuse: true}})
			say(t, conn, proto.ExitCode{})
		}
	}
	for _, m := range late {
		if err := conn.Write(context.Background(), []byte(m)); err != nil {
			return err
		}
	}
	return nil
}
