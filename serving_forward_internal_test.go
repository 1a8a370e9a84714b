package wsep

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/timetest"
	"cdr.dev/wsep/internal/wstest"
)

// peersOnly is a Forwarder that starts nothing.
type peersOnly []Dialer

func (p peersOnly) Peers(context.Context) ([]Dialer, error)       { return p, nil }
func (peersOnly) Start(context.Context, Command) (Process, error) { return nil, errNoExecer }

// TestOnePeerWins has two peers say at the same time that they have a conversation. The server goes on at one of them. It closes the
// connection to the other, whether its answer was read or not.
func TestOnePeerWins(t *testing.T) {
	t.Parallel()
	answer, err := proto.Encode(proto.Resumed{Pid: 1, Extensions: &offer})
	require.NoError(t, err)
	for range 300 {
		var asked sync.WaitGroup
		asked.Add(2)
		dialed := make(chan *wstest.Conn, 2)
		answering := func(conn *wstest.Conn) {
			nextMessage[proto.Resume](t, conn)
			asked.Done()
			asked.Wait()
			_ = conn.Write(context.Background(), answer) // It fails if the other peer has won.
		}
		d := Dialer{Dial: func(context.Context) (Conn, error) {
			client, server := wstest.Pipe()
			dialed <- client
			go answering(server) // Ends once both peers are asked.
			return client, nil
		}}
		s := &serving{execer: peersOnly{d, d}, opts: (*Options)(nil).withDefaults()}
		hop, resumed, err := s.askPeers(t.Context(), &proto.Resume{Extensions: &offer})
		require.NoError(t, err)
		require.Equal(t, 1, resumed.Pid)
		for range 2 {
			if conn := <-dialed; Conn(conn) != hop.conn {
				select {
				case <-conn.Closed():
				case <-time.After(timetest.Patience):
					t.Fatal("the connection of the other peer stays open")
				}
			}
		}
		select {
		case <-hop.conn.(*wstest.Conn).Closed():
			t.Fatal("the connection of the peer that has won is closed")
		default:
		}
		hop.endUse()
		require.NoError(t, hop.conn.CloseNow())
	}
}

// endingConn ends the context of its user as soon as a message comes.
type endingConn struct {
	*wstest.Conn
	end context.CancelFunc
}

func (c endingConn) Reader(ctx context.Context) (io.Reader, error) {
	r, err := c.Conn.Reader(ctx)
	c.end()
	<-c.Closed()
	return r, err
}

// TestPeerAnswersTooLate has a peer answer just as the client is given up. The conversation there waits for the client.
func TestPeerAnswersTooLate(t *testing.T) {
	t.Parallel()
	answer, err := proto.Encode(proto.Resumed{Pid: 1, Extensions: &offer})
	require.NoError(t, err)
	client, server := wstest.Pipe()
	go func() { _ = server.Write(context.Background(), answer) }() // Ends when the message is read.
	ctx, cancel := context.WithCancel(t.Context())
	d := Dialer{Dial: func(context.Context) (Conn, error) { return endingConn{client, cancel}, nil }}
	_, _, err = d.askToResume(ctx, &proto.Resume{Extensions: &offer})
	require.ErrorIs(t, err, ErrDisconnected)
	require.ErrorIs(t, err, context.Canceled)
	require.NotEmpty(t, err.Error())
}
