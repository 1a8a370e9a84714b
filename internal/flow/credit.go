package flow

import (
	"sync"

	"golang.org/x/xerrors"
)

// ErrAck is matched by the error of an acknowledgment that can't be true.
var ErrAck = xerrors.New("bad ack")

// Credit counts what a sender may still send of one stream. One goroutine sends. Acknowledgments may come from another.
type Credit struct {
	mu     sync.Mutex // guards what follows
	window int64      // in bytes; 0 means that there is no flow control
	sent   int64
	acked  int64

	granted chan struct{} // has room for one: the sender looks again
}

// NewCredit returns the Credit for a peer that takes window bytes unacknowledged. 0 means a peer without flow control.
func NewCredit(window int64) *Credit {
	return &Credit{window: window, granted: make(chan struct{}, 1)}
}

// Available waits until something may be sent. It returns how many bytes, at most most. When stop is closed it returns
// ErrStopped.
func (c *Credit) Available(most int, stop <-chan struct{}) (int, error) {
	for {
		c.mu.Lock()
		free := c.acked + c.window - c.sent
		unlimited := c.window == 0
		c.mu.Unlock()
		if unlimited || free >= int64(most) {
			return most, nil
		}
		if free > 0 {
			return int(free), nil
		}
		select {
		case <-c.granted:
		case <-stop:
			return 0, ErrStopped
		}
	}
}

// Spend counts n bytes as sent.
func (c *Credit) Spend(n int) {
	c.mu.Lock()
	c.sent += int64(n)
	c.mu.Unlock()
}

// Ack records that the peer has consumed the first offset bytes of the stream. 0 says nothing. Its error matches ErrAck.
func (c *Credit) Ack(offset int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if offset == 0 {
		return nil
	}
	if offset < c.acked || offset > c.sent {
		return xerrors.Errorf("ack of %d bytes, sent are %d and acknowledged %d: %w", offset, c.sent, c.acked, ErrAck)
	}
	c.acked = offset
	wake(c.granted)
	return nil
}
