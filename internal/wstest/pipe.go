// Package wstest has in-memory message connections with fault injection, for tests. They work with [testing/synctest].
package wstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// capacity is how many unread messages a connection holds, as the kernel's buffers do.
const capacity = 16

// closeTimeout is how long Close waits for the peer.
const closeTimeout = 5 * time.Second

// Conn is one end of an in-memory connection. It implements wsep.Conn.
type Conn struct {
	peer *Conn
	in   chan item

	closed    chan struct{} // closed when this end is closed
	closeOnce sync.Once

	mu     sync.Mutex // guards what follows
	limit  int64
	cut    bool // this end has been cut
	pings  int
	sent   []Message
	record bool
}

// Message is a message that was sent.
type Message []byte

// item is a message, a ping with the channel for its pong, or a close frame.
type item struct {
	message []byte
	pong    chan<- struct{}
	close   *CloseError
}

// CloseError is a close frame of the peer.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed with %d %q", e.Code, e.Reason) }

// CloseStatus returns the code and the reason of the close frame.
func (e *CloseError) CloseStatus() (code int, reason string) { return e.Code, e.Reason }

// Pipe returns the two ends of a connection.
func Pipe() (a, b *Conn) {
	a, b = newConn(), newConn()
	a.peer, b.peer = b, a
	return a, b
}

func newConn() *Conn {
	return &Conn{in: make(chan item, capacity), closed: make(chan struct{}), limit: -1}
}

// Cut cuts this end off: messages to it are lost, and none comes from it any more.
func (c *Conn) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
}

func (c *Conn) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// Record keeps the messages that this end sends from now on, for Sent.
func (c *Conn) Record() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record = true
}

// Sent returns the messages that this end has sent since Record.
func (c *Conn) Sent() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// Pings returns how many pings have reached this end and been answered.
func (c *Conn) Pings() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pings
}

// Reader returns the next message.
func (c *Conn) Reader(ctx context.Context) (io.Reader, error) {
	for {
		var it item
		select {
		case it = <-c.in:
		case <-c.closed:
			return nil, net.ErrClosed
		case <-ctx.Done():
			_ = c.CloseNow()
			return nil, ctx.Err()
		case <-c.peer.closed:
			select {
			case it = <-c.in: // It was sent before the peer closed.
			default:
				return nil, io.EOF
			}
		}
		if c.isCut() {
			continue
		}
		switch {
		case it.close != nil:
			_ = c.CloseNow()
			return nil, it.close
		case it.pong != nil:
			c.mu.Lock()
			c.pings++
			c.mu.Unlock()
			it.pong <- struct{}{}
		default:
			return c.limited(it.message)
		}
	}
}

func (c *Conn) limited(message []byte) (io.Reader, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit >= 0 && int64(len(message)) > c.limit {
		go func() { _ = c.Close(1009, "message too big") }()
		return nil, errors.New("message too big")
	}
	return bytes.NewReader(message), nil
}

// Write sends a message. It waits while the peer has capacity messages to read.
func (c *Conn) Write(ctx context.Context, p []byte) error {
	message := bytes.Clone(p)
	if err := c.send(ctx, item{message: message}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.record {
		c.sent = append(c.sent, message)
	}
	return nil
}

func (c *Conn) send(ctx context.Context, it item) error {
	if c.isCut() {
		return nil
	}
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	if c.peer.isCut() {
		return nil // A kernel would take it.
	}
	select {
	case c.peer.in <- it:
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-c.peer.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		if it.message != nil {
			_ = c.CloseNow()
		}
		return ctx.Err()
	}
}

// Ping sends a ping and waits for the pong. The peer must be reading.
func (c *Conn) Ping(ctx context.Context) error {
	pong := make(chan struct{}, 1)
	if err := c.send(ctx, item{pong: pong}); err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetReadLimit bounds the size of a message.
func (c *Conn) SetReadLimit(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = n
}

// Close sends a close frame, waits for the peer to close for at most five seconds, and closes this end.
func (c *Conn) Close(code int, reason string) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := c.send(ctx, item{close: &CloseError{code, reason}}); err == nil {
		select {
		case <-c.peer.closed:
		case <-c.closed:
		case <-ctx.Done():
		}
	}
	return c.CloseNow()
}

// Closed returns a channel that is closed when this end is closed.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// CloseNow closes the connection.
func (c *Conn) CloseNow() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return nil
}
