package wsplice

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// sharedOut is the way to the other end of a connection that many channels share. A channel writes under its lock, and
// waits there. Frames of those that must not wait go into a queue. A goroutine sends the queue, and lives while there is one.
type sharedOut struct {
	line    *line
	timeout time.Duration // how long the other end may take nothing
	failed  func(error)   // called when it can't be written to; it must not wait
	wg      *sync.WaitGroup

	mu   sync.Mutex // held while writing; guards what follows
	over bool       // nothing is written any more

	queue struct {
		mu      sync.Mutex // guards what follows. It may be taken while mu is held
		list    []queued
		cost    int    // of the frames that wait or are being written, in bytes
		pong    []byte // the newest that waits; nil if there is none
		working bool   // the goroutine lives
		closed  bool   // no goroutine is started any more
	}
}

// queued is a frame that waits to be sent.
type queued struct {
	frame   []byte
	first   func()      // if set, called before that, with the lock held
	last    bool        // nothing is sent after it
	skip    func() bool // if set, asked before that, with the lock held, whether it should not be sent any more
	done    chan error  // if set, somebody waits to be told here, without ever blocking the sender
	skipped bool
}

const (
	// maxWaiting bounds the cost, in bytes, of the frames that wait for an end that does not read.
	maxWaiting = 16 << 20
	// queuedCost is what a queued frame costs beside its bytes, in bytes: its place in the list, and the frame's among the
	// pieces of a write, with the room that slices have to grow.
	queuedCost = 128
)

// cost returns the frame's cost in bytes. Frames that a caller waits for cost nothing: they are as many as there are callers.
func (a *queued) cost() int {
	if a.done != nil {
		return 0
	}
	return cap(a.frame) + queuedCost
}

var (
	errPeerStalled = xerrors.New("peer has taken nothing for the write timeout")
	errSkipped     = xerrors.New("not sent")
	errPeerDeaf    = xerrors.New("peer reads no answers")
)

// write writes all pieces, which it uses up. The lock is held.
func (o *sharedOut) write(pieces [][]byte) error {
	if o.over || len(pieces) == 0 {
		return nil
	}
	err := o.line.writeAll(pieces, o.timeout)
	if err == nil {
		return nil
	}
	if isTimeout(err) {
		err = errPeerStalled
	}
	o.over = true
	o.failed(err)
	return err
}

// writeLast writes a frame after which nothing is written.
func (o *sharedOut) writeLast(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.write([][]byte{frame})
	o.over = true
}

// enqueue has a frame sent, without waiting.
func (o *sharedOut) enqueue(a queued) {
	q := &o.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		a.tell(net.ErrClosed)
		return
	}
	if q.cost += a.cost(); q.cost > maxWaiting {
		// Ends at once. The caller may hold the locks that failed takes.
		o.wg.Go(func() { o.failed(errPeerDeaf) })
		return
	}
	q.list = append(q.list, a)
	o.work()
}

// pong answers a ping, without waiting: at once, or when others have written. A newer one takes the place of one that
// waits (RFC 6455 section 5.5.3), so that an end that does not read costs no more for sending many pings.
func (o *sharedOut) pong(frame []byte) {
	if o.mu.TryLock() {
		rest, err := o.sendNow(frame, nil)
		begun := len(rest) < len(frame)
		if begun && len(rest) > 0 {
			o.finishFrame(rest, func(error) {})
			return
		}
		o.mu.Unlock()
		if begun || err != nil {
			return
		}
	}
	q := &o.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.pong = frame
		o.work()
	}
}

// work has a goroutine send the queue. Its lock is held.
func (o *sharedOut) work() {
	if !o.queue.working {
		o.queue.working = true
		// Ends when the queue is empty. To interrupt the connection keeps no frame waiting.
		o.wg.Go(o.sendQueued)
	}
}

func (a *queued) tell(err error) {
	if a.done != nil {
		a.done <- err
	}
}

// close starts no goroutine any more. The frames that are queued are still sent.
func (o *sharedOut) close() {
	o.queue.mu.Lock()
	defer o.queue.mu.Unlock()
	o.queue.closed = true
}

// start starts a goroutine, or calls f if none is started any more.
func (o *sharedOut) start(f func()) {
	o.queue.mu.Lock()
	closed := o.queue.closed
	if !closed {
		o.wg.Go(f)
	}
	o.queue.mu.Unlock()
	if closed {
		f()
	}
}

func (o *sharedOut) sendQueued() {
	var list []queued
	for {
		if list = o.nextQueued(list); list == nil {
			return
		}
		err := o.sendAll(list)
		for _, a := range list {
			if a.skipped {
				a.tell(errSkipped)
				continue
			}
			a.tell(err)
		}
	}
}

func (o *sharedOut) sendAll(list []queued) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	pieces, last := o.prepare(list)
	err := o.write(pieces)
	o.over = o.over || last
	return err
}

// prepare returns the frames to be sent, and whether they are the last. The lock is held.
func (o *sharedOut) prepare(list []queued) (pieces [][]byte, last bool) {
	for i := range list {
		a := &list[i]
		if a.skipped = a.skip != nil && a.skip(); a.skipped {
			continue
		}
		if a.first != nil {
			a.first()
		}
		pieces = append(pieces, a.frame)
		if a.last {
			return pieces, true
		}
	}
	return pieces, false
}

// send sends a frame and waits until that is done, or the context ends: then it may be sent nevertheless, or be under
// way. Nothing is sent if skip says so at that time, and then the error is errSkipped. It owns the frame, which it
// gives to the pool.
func (o *sharedOut) send(ctx context.Context, frame *[]byte, skip func() bool) error {
	done := make(chan error, 1)
	if o.mu.TryLock() {
		rest, err := o.sendNow(*frame, skip)
		if len(rest) == 0 || err != nil {
			o.mu.Unlock()
			putFrame(frame)
			return err
		}
		o.finishFrame(rest, func(err error) {
			putFrame(frame)
			done <- err
		})
	} else {
		o.enqueue(queued{frame: *frame, skip: skip, done: done})
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendNow sends what can be sent at once of a frame, and returns the rest. skip is as for send, or nil. The lock is held.
func (o *sharedOut) sendNow(frame []byte, skip func() bool) (rest []byte, err error) {
	if o.over || skip != nil && skip() {
		return nil, errSkipped
	}
	n, err := o.line.writeNow([][]byte{frame})
	if err != nil {
		o.over = true
		o.failed(err)
	}
	return frame[n:], err
}

// finishFrame has a goroutine send the rest of a frame, release the lock, which is held, and tell how that went.
func (o *sharedOut) finishFrame(rest []byte, tell func(error)) {
	// Ends when the rest has been sent, for which there is a time limit, or the connection is interrupted.
	o.start(func() {
		err := o.write([][]byte{rest})
		o.mu.Unlock()
		tell(err)
	})
}

// nextQueued returns the frames to be sent next, or nil, and then the goroutine ends.
func (o *sharedOut) nextQueued(sent []queued) []queued {
	q := &o.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range sent {
		q.cost -= sent[i].cost()
	}
	list := q.list
	q.list = nil
	if q.pong != nil {
		pong := queued{frame: q.pong}
		q.cost += pong.cost()
		list, q.pong = append(list, pong), nil
	}
	q.working = list != nil
	return list
}
