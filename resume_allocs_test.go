package wsep

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
)

// What keeps a stream for the next connection must not cost an allocation for each message. Both streams below are of
// conversations that can be resumed.

// allocsEach returns how many allocations each call makes once the stream has its memory.
func allocsEach(call func()) float64 {
	for range 200 {
		call()
	}
	return testing.AllocsPerRun(1000, call)
}

func TestSendingWithResumeDoesNotAllocate(t *testing.T) {
	const window = 128 << 10 // Soon used up: a stream takes memory for all that is not acknowledged.
	s := senderTo(&nullConn{}, defaultMaxMessage, window)
	s.lasting = true
	for _, size := range []int{1, 1000, 30_000} {
		p := make([]byte, size)
		require.Zero(t, allocsEach(func() {
			if _, err := s.write(p); err != nil {
				t.Fatal(err)
			}
			if s.out.Room() < window/2 {
				if err := s.ack(s.out.Made()); err != nil {
					t.Fatal(err)
				}
			}
		}), "%d bytes", size)
	}
}

func TestReceivingWithResumeDoesNotAllocate(t *testing.T) {
	p := newRemoteProcess(Command{}, &resumer{limit: time.Minute})
	defer p.end()
	p.peer, p.pinging = granted, -1
	p.agree()
	require.NotNil(t, p.resumer)
	for _, size := range []int{1, 1000, 30_000} {
		l := newClientLink(context.Background(), &nullConn{message: proto.StdoutHeader + string(make([]byte, size))})
		p.attach(l)
		out := make([]byte, size)
		require.Zero(t, allocsEach(func() {
			data, _, err := l.read(proto.StdoutHeader)
			if err == nil {
				err = p.receive(data)
			}
			for n := 0; err == nil && n < size; {
				var m int
				m, err = p.stdout.Read(out)
				n += m
			}
			if err != nil {
				t.Fatal(err)
			}
		}), "%d bytes", size)
		p.detach(l)
	}
}
