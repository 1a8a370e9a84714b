// Package idle keeps things that can be used again, such as connections, for a while.
package idle

import (
	"slices"
	"sync"
	"time"
)

// Item is what a pool keeps.
type Item interface {
	comparable
	// Take makes the item its caller's. It returns false if the item is of no use any more.
	Take() bool
	// Drop ends an item that nobody takes. It does not wait.
	Drop()
}

// all are the functions that clear the program's pools.
var all []func()

// NewPool returns a Pool. It is for the variables of packages: see [ClearAll].
func NewPool[K comparable, T Item]() *Pool[K, T] {
	p := new(Pool[K, T])
	all = append(all, p.clear)
	return p
}

// ClearAll drops the items of all pools. Tests that look for leaks need it.
func ClearAll() {
	for _, clear := range all {
		clear()
	}
}

// Pool keeps items by key. It is safe for concurrent use.
type Pool[K comparable, T Item] struct {
	mu    sync.Mutex
	items map[K][]kept[T] // the last one was put last
}

type kept[T Item] struct {
	item    T
	expires *time.Timer
}

// Put keeps an item for a time, unless the key has most items already. It reports whether it keeps the item.
func (p *Pool[K, T]) Put(key K, item T, most int, timeout time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.items[key]) >= most {
		return false
	}
	if p.items == nil {
		p.items = make(map[K][]kept[T])
	}
	expires := time.AfterFunc(timeout, func() {
		if p.Remove(key, item) {
			item.Drop()
		}
	})
	p.items[key] = append(p.items[key], kept[T]{item, expires})
	return true
}

// Take returns, of the key's items, the one that was put last. ok is false if there is none.
func (p *Pool[K, T]) Take(key K) (item T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.items[key]); n > 0; n = len(p.items[key]) {
		if item = p.drop(key, n-1); item.Take() {
			return item, true
		}
	}
	var none T
	return none, false
}

// Remove forgets an item. It reports false if the pool does not have the item.
func (p *Pool[K, T]) Remove(key K, item T) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.IndexFunc(p.items[key], func(k kept[T]) bool { return k.item == item })
	if at < 0 {
		return false
	}
	p.drop(key, at)
	return true
}

// Clear drops the items of the key.
func (p *Pool[K, T]) Clear(key K) {
	for item, ok := p.Take(key); ok; item, ok = p.Take(key) {
		item.Drop()
	}
}

// clear drops all items.
func (p *Pool[K, T]) clear() {
	p.mu.Lock()
	keys := make([]K, 0, len(p.items))
	for key := range p.items {
		keys = append(keys, key)
	}
	p.mu.Unlock()
	for _, key := range keys {
		p.Clear(key)
	}
}

// drop takes an item out of the pool. The lock is held.
func (p *Pool[K, T]) drop(key K, at int) T {
	k := p.items[key][at]
	k.expires.Stop()
	if p.items[key] = slices.Delete(p.items[key], at, at+1); len(p.items[key]) == 0 {
		delete(p.items, key)
	}
	return k.item
}
