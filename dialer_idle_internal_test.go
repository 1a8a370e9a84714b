package wsep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wstest"
)

// pipes is a Dial that keeps the servers' ends of its connections.
type pipes struct{ servers []*wstest.Conn }

func (p *pipes) dial(context.Context) (Conn, error) {
	client, server := wstest.Pipe()
	p.servers = append(p.servers, server)
	return client, nil
}

// keepNew makes a connection, and keeps it.
func keepNew(t *testing.T, d Dialer) *idleConn {
	conn, err := d.connect(t.Context())
	require.NoError(t, err)
	l := newClientLink(t.Context(), conn)
	l.mark("mark")
	l.endUse()
	kept := newIdleConn(l)
	d.keepIdle(kept)
	return kept
}

// TestSilentServerIsProbedOnce keeps several connections to a server that has fallen silent. A start makes a new connection after the
// time for one ping, and drops the others.
func TestSilentServerIsProbedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made pipes
		d := Dialer{MaxIdle: 4, Dial: made.dial}
		for range 4 {
			keepNew(t, d)
		}
		began := time.Now()
		conn, err := d.connection(t.Context(), d.resumer(Command{}), 0)
		require.NoError(t, err)
		require.Equal(t, probeTimeout, time.Since(began))
		require.Len(t, made.servers, 5)
		_, ok := idleConns.Take(d.peer())
		require.False(t, ok)
		require.NoError(t, conn.CloseNow())
	})
}

// TestLateAckIsNoLoss has an acknowledgment of the last conversation come before the answer to the ping with which the next one begins.
func TestLateAckIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made pipes
		d := Dialer{MaxIdle: 1, Dial: made.dial}
		kept := keepNew(t, d)
		go func() { // Ends with the connection.
			time.Sleep(probeTimeout / 2)
			say(t, made.servers[0], proto.Ack{Seq: 1})
			drain(made.servers[0])
		}()
		conn, err := d.connection(t.Context(), d.resumer(Command{}), 0)
		require.NoError(t, err)
		require.Equal(t, Conn(kept), conn)
		require.NoError(t, conn.CloseNow())
	})
}
