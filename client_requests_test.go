package wsep

import (
	"testing"
	"testing/synctest"

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
