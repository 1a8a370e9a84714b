package flow

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/streamtest"
)

// TestOutboxSendsAgain has a stream cut again and again at a random place. What its receiver got is the stream.
func TestOutboxSendsAgain(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		data := streamtest.RandomBytes(1 << r.IntN(22))
		window := int64(4096 + r.IntN(1<<r.IntN(20)))
		o := NewOutbox(testHeader, window)
		var got []byte
		made, acked := 0, int64(0)
		for len(got) < len(data) {
			switch r.IntN(6) {
			case 0, 1:
				most := min(len(data)-made, 1+r.IntN(1<<r.IntN(19)))
				made += put(o, data[made:made+most])
			case 2, 3:
				if o.Unsent() > 0 {
					got = append(got, take(t, o, 1+r.IntN(300000))...)
				}
			case 4:
				acked += r.Int64N(int64(len(got)) - acked + 1)
				require.NoError(t, o.Ack(acked))
			case 5:
				// What the peer got last may have been lost.
				got = got[:int(acked)+r.IntN(len(got)-int(acked)+1)]
				require.NoError(t, o.Rewind(int64(len(got))))
			}
			require.LessOrEqual(t, o.made, o.acked+window)
			require.LessOrEqual(t, held(o), 2*int(window)+3*largeRoom)
		}
		require.True(t, bytes.Equal(data, got), "seed %d", seed)
		require.True(t, o.AllSent())
		require.NoError(t, o.Ack(int64(len(data))))
		require.LessOrEqual(t, len(o.chunks), 1)
	}
}

func TestOutboxRefusesGaps(t *testing.T) {
	o := NewOutbox(testHeader, 4096)
	put(o, make([]byte, 1000))
	take(t, o, 600)
	require.NoError(t, o.Ack(300))
	for _, offset := range []int64{-1, 0, 299, 601, 1000, 1 << 60} {
		require.ErrorIs(t, o.Rewind(offset), ErrGap, "%d", offset)
	}
	for _, offset := range []int64{-1, 299, 601, 1 << 60} {
		require.ErrorIs(t, o.Ack(offset), ErrAck, "%d", offset)
	}
	require.NoError(t, o.Rewind(300))
	require.EqualValues(t, 700, o.Unsent())
	require.NoError(t, o.Ack(0))
	require.ErrorIs(t, o.Ack(301), ErrAck, "it was not sent again yet")
}

func TestOutboxWithoutFlowControlKeepsNothing(t *testing.T) {
	o := NewOutbox(testHeader, 0)
	for range 100 {
		n := put(o, make([]byte, 100000))
		require.Equal(t, 100000, n)
		for o.Unsent() > 0 {
			take(t, o, 64000)
		}
		require.EqualValues(t, o.made, o.acked)
	}
	require.LessOrEqual(t, held(o), 2*largeRoom)
}

// TestOutboxForgets: a stream that has only one connection keeps nothing, though it has flow control.
func TestOutboxForgets(t *testing.T) {
	const window = 2 << 20
	o := NewOutbox(testHeader, window)
	o.Forget()
	for o.Room() > 0 {
		put(o, make([]byte, min(o.Room(), 100000)))
		for o.Unsent() > 0 {
			take(t, o, 64000)
		}
		require.LessOrEqual(t, held(o), 2*largeRoom)
	}
	require.EqualValues(t, window, o.Made())
	require.ErrorIs(t, o.Rewind(0), ErrGap)
	require.NoError(t, o.Ack(window/2))
	require.EqualValues(t, window/2, o.Room())
}

// TestIdleOutboxIsSmall: a stream that carries little costs little, also after it carried much.
func TestIdleOutboxIsSmall(t *testing.T) {
	o := NewOutbox(testHeader, 2<<20)
	o.Space()
	require.Less(t, held(o), 2<<10)
	for range 10 {
		put(o, make([]byte, 100000))
		for o.Unsent() > 0 {
			take(t, o, 256<<10)
		}
		require.NoError(t, o.Ack(o.made))
	}
	for range 3 * calmReads {
		put(o, []byte("little"))
		take(t, o, 100)
		require.NoError(t, o.Ack(o.made))
	}
	o.Space()
	require.Less(t, held(o), 2<<10)
}

func TestOutboxSteadyStateDoesNotAllocate(t *testing.T) {
	for _, size := range []int{1, 1000, 100000} {
		o := NewOutbox(testHeader, 2<<20)
		data := make([]byte, size)
		send := func() {
			put(o, data)
			for o.Unsent() > 0 {
				o.Message(256 << 10)
				o.Written()
			}
			if o.made-o.acked > 512<<10 {
				_ = o.Ack(o.made)
			}
		}
		for range 100 {
			send()
		}
		require.Zero(t, testing.AllocsPerRun(100, send), "%d bytes", size)
	}
}

// TestLentSpace has others make bytes while one takes its time.
func TestLentSpace(t *testing.T) {
	for _, between := range []int{0, 1, 100, 5000, 300000} {
		for _, n := range []int{0, 1, 700} {
			o := NewOutbox(testHeader, 2<<20)
			put(o, []byte("begin "))
			space := o.Lend()
			copy(space, bytes.Repeat([]byte("x"), n))
			require.Equal(t, between, put(o, make([]byte, between)))
			var got []byte
			for o.Unsent() > 0 {
				got = append(got, take(t, o, 1000)...)
			}
			require.NoError(t, o.Ack(int64(len(got))))
			o.Return(n)
			put(o, []byte(" end"))
			for o.Unsent() > 0 {
				got = append(got, take(t, o, 1000)...)
			}
			want := append([]byte("begin "), make([]byte, between)...)
			want = append(append(want, bytes.Repeat([]byte("x"), n)...), " end"...)
			require.True(t, bytes.Equal(want, got), "%d bytes between, %d lent", between, n)
		}
	}
}
