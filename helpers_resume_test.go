//go:build linux

package wsep_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
)

const resumeExtensions = `"extensions":{"window":65536,"outcome":true,"signal":true,"resume":%d}`

// testKey returns a key as it is on the wire.
func testKey(n byte) string {
	return base64.RawURLEncoding.EncodeToString(append(make([]byte, 31), n))
}

// startWith returns a start message for a shell command, with a key and so many seconds of resume.
func startWith(key string, seconds int, script string) string {
	return fmt.Sprintf(`{"type":"start","key":%q,"command":{"command":"sh","args":["-c",%q],"stdin":true},`+resumeExtensions+`}`,
		key, script, seconds)
}

// resumeWith returns a resume message.
func resumeWith(key string, stdout int) string { return resumeMarked(key, stdout, "") }

// resumeMarked returns the resume message of a client that has lost pid, and had a server's mark.
func resumeMarked(key string, stdout int, mark string) string {
	return fmt.Sprintf(`{"type":"resume","key":%q,"stdout":%d,"server":%q,`+resumeExtensions+`}`, key, stdout, mark, 60)
}

// next returns the next message, which must be of the type. Before it may come an ack.
func (c *rawClient) next(typ string) message {
	c.t.Helper()
	for {
		m, err := c.read()
		require.NoError(c.t, err)
		if m.Type == "ack" && typ != "ack" {
			continue
		}
		require.Equal(c.t, typ, m.Type, "%+v", m)
		return m
	}
}

// leave closes the connection for good.
func (c *rawClient) leave() { _ = c.conn.Close(1000, "") }

// drop closes the client's connection without a close frame.
func (c *rawClient) drop() { _ = c.conn.CloseNow() }

// refused sends resume over a new connection and returns the refusal.
func refused(t *testing.T, url, resume string) message {
	t.Helper()
	c := dialRaw(t, url)
	defer c.drop()
	c.send(resume)
	return c.next("resume_error")
}

// holdOnTheWire has a conversation with a server whose connection ends twice. lose ends the connection.
func holdOnTheWire(t *testing.T, url string, lose func(*rawClient)) {
	t.Helper()
	c := dialRaw(t, url)
	c.send(startWith(testKey(1), 7, "read line; echo got $line; read line; exit 3"))
	pid := c.next("pid")
	require.EqualValues(t, 7, pid.Extensions["resume"])
	c.send(`{"type":"signal","signal":"CONT","seq":1}`)
	require.EqualValues(t, 1, c.next("ack").Seq)
	c.send(`{"type":"stdin"}` + "\nfirst\nse")
	require.Equal(t, "got first\n", c.next("stdout").body)
	lose(c)

	c = dialRaw(t, url)
	c.send(resumeWith(testKey(1), 4))
	resumed := c.next("resumed")
	require.Equal(t, pid.Pid, resumed.Pid)
	require.EqualValues(t, len("first\nse"), resumed.Stdin)
	require.EqualValues(t, 1, resumed.Seq)
	c.send(`{"type":"signal","signal":"KILL","seq":1}`) // It was taken before.
	c.send(`{"type":"stdin"}` + "\ncond\n")
	exit, stdout := c.result()
	require.Equal(t, 3, exit.ExitCode)
	require.Equal(t, "first\n", stdout)
	lose(c)

	// The end may not have arrived. It comes again.
	c = dialRaw(t, url)
	c.send(resumeWith(testKey(1), 10))
	c.next("resumed")
	exit, stdout = c.result()
	require.Equal(t, 3, exit.ExitCode)
	require.Empty(t, stdout)
	c.leave()
	require.Eventually(t, func() bool {
		return refused(t, url, resumeWith(testKey(1), 10)).Kind == "unknown"
	}, patience, 10*time.Millisecond)
}

// cutFirst returns a plan by which the first connection is cut so, and no other.
func cutFirst(plan cuttest.Plan) func() cuttest.Plan {
	var asked atomic.Bool
	return func() cuttest.Plan {
		if asked.Swap(true) {
			return cuttest.Plan{}
		}
		return plan
	}
}

// refusing is an Execer whose starts fail.
type refusing struct{ err error }

func (r refusing) Start(context.Context, wsep.Command) (wsep.Process, error) { return nil, r.err }

// window is how many bytes of a stream may be on the way or unread.
const window = 2 << 20
