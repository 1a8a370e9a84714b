package wsplice

import (
	"sync"
	"sync/atomic"
)

// table has a client's channels by their indexes. It is safe for concurrent use. get takes no lock.
type table struct {
	slots atomic.Pointer[[]atomic.Pointer[splice]] // replaced by a longer one when full

	mu    sync.Mutex // guards what follows; held while slots change
	low   int        // all indexes below it are taken
	count int        // channels and reserved places
}

// reserve takes a place for a channel. It reports false if limit places are taken.
func (t *table) reserve(limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count >= limit {
		return false
	}
	t.count++
	return true
}

// sole reports whether at most one place is taken.
func (t *table) sole() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count <= 1
}

// giveBack gives a reserved place back.
func (t *table) giveBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
}

// insert puts a channel into its reserved place, at the smallest free index.
func (t *table) insert(c *splice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.get(t.low) != nil {
		t.low++
	}
	c.index = uint16(t.low)
	t.slot(t.low).Store(c)
	t.low++
}

// slot returns the slot of an index. It makes slots if there are too few. The lock is held.
func (t *table) slot(i int) *atomic.Pointer[splice] {
	slots := t.slots.Load()
	if slots == nil || i >= len(*slots) {
		longer := make([]atomic.Pointer[splice], max(8, 2*i))
		if slots != nil {
			for k := range *slots {
				longer[k].Store((*slots)[k].Load())
			}
		}
		slots = &longer
		t.slots.Store(slots)
	}
	return &(*slots)[i]
}

// get returns the channel with an index, or nil.
func (t *table) get(i int) *splice {
	slots := t.slots.Load()
	if slots == nil || i < 0 || i >= len(*slots) {
		return nil
	}
	return (*slots)[i].Load()
}

// remove frees a channel's index and its place. A second call does nothing.
func (t *table) remove(c *splice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.get(int(c.index)) != c {
		return
	}
	t.slot(int(c.index)).Store(nil)
	t.low = min(t.low, int(c.index))
	t.count--
}

// all returns all channels.
func (t *table) all() []*splice {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*splice
	if slots := t.slots.Load(); slots != nil {
		for i := range *slots {
			if c := (*slots)[i].Load(); c != nil {
				all = append(all, c)
			}
		}
	}
	return all
}
