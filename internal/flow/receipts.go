package flow

import (
	"sync"
	"time"
)

// Receipts tell a peer how much of one stream was consumed: seldom enough to be cheap, and often enough that the peer
// keeps its credit.
type Receipts struct {
	mu       sync.Mutex // guards what follows
	every    int64
	consumed int64
	told     int64
	tell     func(offset int64)

	quiet time.Duration // 0 means that the rest is never told
	timer *time.Timer   // tells the rest; nil until it is needed
	armed bool          // the timer runs
}

// NewReceipts returns Receipts for a window of so many bytes. tell is called with the offset of what was consumed, once
// for each quarter of the window. If quiet is not 0, tell is also called for the rest, at most that time after it was
// consumed. tell must not wait.
func NewReceipts(window int64, quiet time.Duration, tell func(offset int64)) *Receipts {
	return &Receipts{every: window / 4, quiet: quiet, tell: tell}
}

// Add counts n more bytes as consumed.
func (r *Receipts) Add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.consumed += int64(n)
	if r.consumed-r.told >= r.every {
		r.tellNow()
		return
	}
	if r.quiet > 0 && !r.armed && r.consumed > r.told {
		r.arm()
	}
}

func (r *Receipts) tellNow() {
	r.told = r.consumed
	r.tell(r.consumed)
}

// arm starts the timer. The lock is held.
func (r *Receipts) arm() {
	r.armed = true
	if r.timer == nil {
		r.timer = time.AfterFunc(r.quiet, r.tellRest)
		return
	}
	r.timer.Reset(r.quiet)
}

func (r *Receipts) tellRest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = false
	if r.consumed > r.told {
		r.tellNow()
	}
}
