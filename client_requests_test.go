package wsep

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
)

// TestRequestFailsOverFormerLink: a write to a connection that is lost may fail after the next connection is there. The
// request goes over that one.
func TestRequestFailsOverFormerLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		former, next := newFailingConn(), &scriptConn{}
		r := newClientRequests()
		r.numbered = true
		lost, current := &link{conn: former}, &link{conn: next}
		r.attach(lost)
		require.True(t, r.add(clientRequest{m: proto.Signal{Signal: "USR1"}}))
		synctest.Wait()
		r.detach(lost)
		r.attach(current)
		close(former.free)
		synctest.Wait()
		require.Equal(t, []string{`{"type":"signal","signal":"USR1","seq":1}`}, stringsOf(next.sent))
	})
}

// TestSizesWhileAwayAreOne: while there is no connection nothing is sent, so the last size takes the place of the others.
func TestSizesWhileAwayAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &scriptConn{}
		p := newRemoteProcess(Command{TTY: true}, nil)
		p.requests.numbered = true
		lost := p.use(&scriptConn{onWrite: refuseWrite})
		p.attach(lost)
		p.detach(lost)
		for rows := range uint16(3) {
			require.NoError(t, p.Resize(t.Context(), rows+1, 80))
			synctest.Wait()
		}
		p.attach(p.use(conn))
		synctest.Wait()
		require.Equal(t, []string{`{"type":"resize","rows":3,"cols":80,"seq":1}`}, stringsOf(conn.sent))
		p.end()
	})
}

// delayingConn takes a second for each message of a type.
type delayingConn struct {
	scriptConn
	delayed string
}

func (c *delayingConn) Write(ctx context.Context, p []byte) error {
	if bytes.Contains(p, []byte(`"type":"`+c.delayed+`"`)) {
		time.Sleep(time.Second)
	}
	return c.scriptConn.Write(ctx, p)
}

// TestTypingFollowsResize: what is typed after a resize follows it, over the first connection and over the next.
func TestTypingFollowsResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRemoteProcess(Command{TTY: true, Stdin: true}, &resumer{limit: time.Minute})
		p.peer = offer
		p.peer.Resume = 60
		p.agree()
		require.True(t, p.requests.numbered)
		resizeAndType := func(rows uint16, keys string) {
			require.NoError(t, p.Resize(t.Context(), rows, 80))
			_, err := p.Stdin().Write([]byte(keys))
			require.NoError(t, err)
		}
		first, next := &delayingConn{delayed: "resize"}, &delayingConn{delayed: "resize"}
		l := p.use(first)
		p.attach(l)
		resizeAndType(1, "one")
		require.Equal(t, []string{`{"type":"resize","rows":1,"cols":80,"seq":1}`, proto.StdinHeader + "one"}, stringsOf(first.sent))
		require.NoError(t, p.acknowledged(&proto.Ack{Stdin: 3, Seq: 1}))
		p.detach(l)
		resizeAndType(2, "two")
		p.attach(p.use(next))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{`{"type":"resize","rows":2,"cols":80,"seq":2}`, proto.StdinHeader + "two"}, stringsOf(next.sent))
		p.end()
	})
}

// TestSentSizeIsNotReplaced: the server may have a resize that it has not acknowledged. It would ignore another one with its number.
func TestSentSizeIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRemoteProcess(Command{TTY: true}, nil)
		p.requests.numbered = true
		lost := p.use(&scriptConn{})
		p.attach(lost)
		require.True(t, p.requests.add(clientRequest{m: proto.Signal{Signal: "USR1"}}))
		require.NoError(t, p.Resize(t.Context(), 1, 80))
		synctest.Wait()
		p.detach(lost)
		next := &delayingConn{delayed: "signal"}
		p.attach(p.use(next))
		synctest.Wait() // The signal is on its way, and the resize is not.
		require.NoError(t, p.Resize(t.Context(), 2, 80))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{
			`{"type":"signal","signal":"USR1","seq":1}`,
			`{"type":"resize","rows":1,"cols":80,"seq":2}`,
			`{"type":"resize","rows":2,"cols":80,"seq":3}`,
		}, stringsOf(next.sent))
		p.end()
	})
}
