package wsep

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wstest"
)

// TestLongList has sessions with texts that are longer than a message.
func TestLongList(t *testing.T) {
	long := strings.Repeat("<é", 30_000)
	var infos []SessionInfo
	for i := range 200 {
		infos = append(infos, SessionInfo{
			ID: fmt.Sprint(i), LastLine: long,
			Command: Command{Command: "sh", Args: []string{"", "-c", long, long}, WorkingDir: long},
		})
	}
	infos = append(infos, SessionInfo{ID: long}, SessionInfo{ID: "last", Command: Command{Args: make([]string, 60_000)}})
	messages, err := listOf(infos, nil)
	require.NoError(t, err)
	require.Greater(t, len(messages), 1)
	var ids []string
	for i, m := range messages {
		encoded, err := proto.Encode(m)
		require.NoError(t, err)
		require.LessOrEqual(t, len(encoded), proto.MaxMessage)
		require.Equal(t, i < len(messages)-1, m.(proto.Sessions).More)
		for _, s := range m.(proto.Sessions).Sessions {
			ids = append(ids, s.ID)
		}
	}
	require.Len(t, ids, 201, "one ID is too long")
	require.Equal(t, "last", ids[200])
}

func TestNoSessions(t *testing.T) {
	messages, err := listOf(nil, nil)
	require.NoError(t, err)
	require.Equal(t, []any{proto.Sessions{Sessions: []proto.SessionItem{}}}, messages)
}

// TestAskOlderServer asks a server that ignores the question, one that closes the connection because no start message has
// come, and one that goes away.
func TestAskOlderServer(t *testing.T) {
	for name, tc := range map[string]struct {
		serve func(*wstest.Conn)
		want  error
	}{
		"ignores": {func(c *wstest.Conn) { drain(c) }, errors.ErrUnsupported},
		"closes": {func(c *wstest.Conn) {
			time.Sleep(5 * time.Second) // Fake time.
			_ = c.Close(statusPolicy, "no start message came in time")
		}, errors.ErrUnsupported},
		"is lost": {func(c *wstest.Conn) { _ = c.CloseNow() }, ErrDisconnected},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dialer := Dialer{Resume: 5 * time.Second, Dial: dialPipe(func(c *wstest.Conn) {
					tc.serve(c)
					_ = c.CloseNow()
				})}
				began := time.Now()
				_, err := dialer.Sessions(t.Context())
				require.ErrorIs(t, err, tc.want)
				require.ErrorIs(t, dialer.CloseSession(t.Context(), "1", ""), tc.want)
				require.ErrorIs(t, dialer.SignalSession(t.Context(), "1", "INT"), tc.want)
				require.ErrorIs(t, dialer.WaitSession(t.Context(), "1"), tc.want)
				require.LessOrEqual(t, time.Since(began), 4*answerTimeout)
			})
		})
	}
}

// TestWaitSessionGivesUp has a server that takes the question, and is gone for good then.
func TestWaitSessionGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := false
		dialer := Dialer{Resume: time.Minute, Dial: dialPipe(func(c *wstest.Conn) {
			if !gone {
				gone = true
				msg, _ := proto.Encode(proto.Asked{})
				_ = c.Write(t.Context(), msg)
			}
			_ = c.CloseNow()
		})}
		began := time.Now()
		require.ErrorIs(t, dialer.WaitSession(t.Context(), "1"), ErrDisconnected)
		require.WithinRange(t, time.Now(), began.Add(30*time.Second), began.Add(70*time.Second))
	})
}

// TestWaitSessionForgotten has a session that ends while its client's line is cut, and that nobody remembers.
func TestWaitSessionForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := [][]any{{proto.Asked{}}, {proto.Asked{}, proto.AskError{Kind: "not_exist", Message: "gone"}}}
		dialer := Dialer{Dial: dialPipe(func(c *wstest.Conn) {
			for _, m := range answers[0] {
				msg, _ := proto.Encode(m)
				_ = c.Write(t.Context(), msg)
			}
			if answers = answers[1:]; len(answers) == 0 {
				drain(c)
			}
			_ = c.CloseNow()
		})}
		require.ErrorIs(t, dialer.WaitSession(t.Context(), "1"), ErrDisconnected)
	})
}

// TestAskSilence has a server that takes the question and answers nothing, and no pings.
func TestAskSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		dialer := Dialer{KeepAlive: time.Second, Dial: dialPipe(func(c *wstest.Conn) {
			msg, _ := proto.Encode(proto.Asked{})
			_ = c.Write(t.Context(), msg)
			<-stop
			_ = c.CloseNow()
		})}
		began := time.Now()
		_, err := dialer.Sessions(t.Context())
		require.ErrorIs(t, err, ErrDisconnected)
		require.LessOrEqual(t, time.Since(began), 3*time.Second)
		close(stop)
	})
}

// TestListExited has a command without a terminal that has exited.
func TestListExited(t *testing.T) {
	killed := NewSignalError("KILL", "signal: killed")
	for name, exit := range map[string]error{"ok": nil, "code": NewExitError(3, "exit status 3"), "killed": killed} {
		t.Run(name, func(t *testing.T) {
			info := SessionInfo{ID: "1", State: StateReady, Exited: true, Exit: exit, Stdout: 7, Stderr: 8}
			described := describeSession(info)
			require.Equal(t, proto.SessionExited, described.State)
			got := sessionInfo(described)
			require.Equal(t, StateReady, int(got.State))
			require.True(t, got.Exited)
			require.Equal(t, exit, got.Exit)
			require.Equal(t, []int64{7, 8}, []int64{got.Stdout, got.Stderr})
		})
	}
}
