package idle

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// thing is an Item.
type thing struct {
	lost, taken bool
	dropped     atomic.Bool
}

func (i *thing) Take() bool {
	i.taken = !i.lost
	return i.taken
}

func (i *thing) Drop() { i.dropped.Store(true) }

func TestTheLastPutIsTakenFirst(t *testing.T) {
	p := NewPool[string, *thing]()
	defer p.clear()
	first, second, other := new(thing), new(thing), new(thing)
	require.True(t, p.Put("a", first, 2, time.Hour))
	require.True(t, p.Put("a", second, 2, time.Hour))
	require.False(t, p.Put("a", other, 2, time.Hour), "two at most")
	require.True(t, p.Put("b", other, 2, time.Hour))

	for _, want := range []*thing{second, first} {
		got, ok := p.Take("a")
		require.True(t, ok)
		require.Same(t, want, got)
		require.True(t, got.taken)
	}
	_, ok := p.Take("a")
	require.False(t, ok)
	require.False(t, other.taken)
}

func TestWhatIsLostIsNotTaken(t *testing.T) {
	p := NewPool[string, *thing]()
	good := new(thing)
	require.True(t, p.Put("a", good, 2, time.Hour))
	require.True(t, p.Put("a", &thing{lost: true}, 2, time.Hour))
	got, ok := p.Take("a")
	require.True(t, ok)
	require.Same(t, good, got)
	require.Empty(t, p.items, "nothing is left of the key")
}

func TestItemsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool[string, *thing]()
		rests, taken := new(thing), new(thing)
		require.True(t, p.Put("a", rests, 2, time.Minute))
		require.True(t, p.Put("a", taken, 2, time.Minute))
		_, ok := p.Take("a")
		require.True(t, ok)
		time.Sleep(time.Minute - time.Second)
		require.False(t, rests.dropped.Load())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, rests.dropped.Load())
		require.False(t, taken.dropped.Load(), "it is its taker's")
		require.False(t, p.Remove("a", rests))
		require.Empty(t, p.items)
	})
}

func TestClear(t *testing.T) {
	p := NewPool[string, *thing]()
	a, b, c := new(thing), new(thing), new(thing)
	for key, item := range map[string]*thing{"a": a, "b": b, "c": c} {
		require.True(t, p.Put(key, item, 2, time.Hour))
	}
	require.True(t, p.Remove("c", c))
	p.Clear("a")
	require.True(t, a.dropped.Load())
	require.False(t, b.dropped.Load())
	ClearAll()
	require.True(t, b.dropped.Load())
	require.False(t, c.dropped.Load())
	require.Empty(t, p.items)
}
