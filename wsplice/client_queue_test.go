package wsplice

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessageQueue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var q messageQueue
	var want, got [][]byte
	held := 0
	for range 10_000 {
		if held > 0 && random.IntN(100) < 49 {
			got = append(got, q.first())
			q.remove()
			held--
		} else {
			message := bytes.Repeat([]byte{byte(random.Uint32())}, random.IntN(1<<random.IntN(13)))
			q.add(message)
			want = append(want, message)
			held++
		}
		require.Equal(t, held, q.count)
	}
	for q.count > 0 {
		got = append(got, q.first())
		q.remove()
	}
	require.Empty(t, q.chunks)
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, bytes.Equal(want[i], got[i]), "message %d", i)
		require.NotNil(t, got[i], "message %d", i)
	}
}

// TestSmallMessagesTakeLittle fills a queue with a window of messages of each size.
func TestSmallMessagesTakeLittle(t *testing.T) {
	for _, size := range []int{1, 2, 10, 100, sharedChunk / 2, sharedChunk, 10 * sharedChunk} {
		var q messageQueue
		message := make([]byte, size)
		taken := 0
		for q.count*size < defaultClientWindow {
			q.add(message)
		}
		for _, chunk := range q.chunks {
			taken += cap(chunk)
		}
		require.LessOrEqual(t, taken, 2*defaultClientWindow+2*sharedChunk, "messages of %d bytes", size)
		require.LessOrEqual(t, len(q.chunks), defaultClientWindow/sharedChunk*2+1, "messages of %d bytes", size)
	}
}
