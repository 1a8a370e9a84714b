package flow

import "sync"

// Receipts tell a peer how much of one stream was consumed: seldom enough to be cheap, and often enough that the peer
// keeps its credit.
type Receipts struct {
	mu       sync.Mutex // guards what follows
	every    int64
	consumed int64
	told     int64
	tell     func(offset int64)
}

// NewReceipts returns Receipts for a window of so many bytes. tell is called with the offset of what was consumed, once
// for each quarter of the window. It must not wait.
func NewReceipts(window int64, tell func(offset int64)) *Receipts {
	return &Receipts{every: window / 4, tell: tell}
}

// Add counts n more bytes as consumed.
func (r *Receipts) Add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.consumed += int64(n)
	if r.consumed-r.told >= r.every {
		r.told = r.consumed
		r.tell(r.consumed)
	}
}
