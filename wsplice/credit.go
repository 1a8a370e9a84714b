package wsplice

import (
	"context"
	"sync"
)

// credit is how many bytes may be sent before the receiver acknowledges more. While less than a quarter of the window
// is unacknowledged, any message may be sent, also one that is larger than the window. Otherwise a message may be sent
// if it fits into the window. A receiver acknowledges when it has consumed a quarter of the window. A nil credit has no
// bound.
type credit struct {
	window int64

	mu    sync.Mutex // guards what follows
	sent  int64      // bytes that are not acknowledged
	ended bool
	wake  chan struct{} // closed when there may be credit; nil if no goroutine waits
}

// newCredit returns the credit of a window, nil for 0.
func newCredit(window int64) *credit {
	if window == 0 {
		return nil
	}
	return &credit{window: window}
}

// take takes the credit for a message of n bytes, if there is enough.
func (c *credit) take(n int64) bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.enough(n) {
		return false
	}
	c.sent += n
	return true
}

// await waits until take of n bytes may succeed.
func (c *credit) await(ctx context.Context, n int64) error {
	for {
		wake := c.waker(n)
		if wake == nil {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waker returns a channel that is closed when there may be more credit. It returns nil if there is enough.
func (c *credit) waker(n int64) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.enough(n) {
		return nil
	}
	if c.wake == nil {
		c.wake = make(chan struct{})
	}
	return c.wake
}

// enough reports whether a message of n bytes may be sent. The lock is held.
func (c *credit) enough(n int64) bool {
	return c.ended || c.sent < c.window/4 || c.sent+n <= c.window
}

// add gives back n bytes that the receiver has acknowledged.
func (c *credit) add(n int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = max(0, c.sent-n)
	c.signal()
}

// end makes the credit boundless, because nothing is sent any more.
func (c *credit) end() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.signal()
}

func (c *credit) signal() {
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}
