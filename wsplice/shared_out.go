package wsplice

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// sharedOut sends to the other end of a connection that many channels share. A channel writes with the lock held, and
// waits. A caller that must not wait queues its frame. A goroutine sends the queue, and ends when it is empty.
type sharedOut struct {
	line    *line
	timeout time.Duration // how long the other end may take nothing
	failed  func(error)   // called when a write fails; it must not wait
	wg      *sync.WaitGroup

	mu      sync.Mutex // held while writing; guards what follows
	stopped bool       // nothing is written any more

	queue struct {
		mu      sync.Mutex // guards what follows. Taken after mu, if both are held
		list    []queued
		cost    int    // of the frames that wait or are being sent, in bytes
		pong    []byte // the newest pong that waits, or nil
		working bool   // the goroutine runs
		closed  bool   // no goroutine is started any more
	}
}

// queued is a frame that waits to be sent.
type queued struct {
	frame   []byte
	first   func()      // if set, called right before the frame is sent, with the lock held
	last    bool        // nothing is sent after it
	skip    func() bool // if set, called before first with the lock held: true drops the frame
	done    chan error  // if set, gets the result; it has room, so that the sender never waits
	skipped bool
}

const (
	// maxWaiting bounds the cost of the queue, in bytes, for an end that does not read.
	maxWaiting = 16 << 20
	// queuedCost is what a queued frame costs beside its own bytes, in bytes: an element of the list and one of a
	// write's pieces, with the room that slices have to grow.
	queuedCost = 128
)

// cost returns the frame's cost in bytes. A frame with a waiting caller costs nothing, because the number of callers
// bounds them.
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

// write writes all pieces, and changes them. The lock is held.
func (o *sharedOut) write(pieces [][]byte) error {
	if o.stopped || len(pieces) == 0 {
		return nil
	}
	err := o.line.writeAll(pieces, o.timeout)
	if err == nil {
		return nil
	}
	if isTimeout(err) {
		err = errPeerStalled
	}
	o.stopped = true
	o.failed(err)
	return err
}

// writeLast writes a frame, and nothing after it.
func (o *sharedOut) writeLast(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.write([][]byte{frame})
	o.stopped = true
}

// enqueue queues a frame. It does not wait.
func (o *sharedOut) enqueue(a queued) {
	q := &o.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		a.tell(net.ErrClosed)
		return
	}
	if q.cost += a.cost(); q.cost > maxWaiting {
		// Ends at once. A goroutine calls failed because the caller may hold the locks that failed takes.
		o.wg.Go(func() { o.failed(errPeerDeaf) })
		return
	}
	q.list = append(q.list, a)
	o.work()
}

// pong sends the answer to a ping: now, or when the current write has ended. It does not wait. A newer pong takes the
// place of one that waits (RFC 6455 section 5.5.3). So an end that does not read costs one pong, however many pings it
// sends.
func (o *sharedOut) pong(frame []byte) {
	if o.mu.TryLock() {
		rest, err := o.sendNow(frame, nil)
		begun := len(rest) < len(frame)
		if begun && len(rest) > 0 {
			o.sendRest(rest, func(error) {})
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

// work starts the goroutine that sends the queue, if it does not run. The queue's lock is held.
func (o *sharedOut) work() {
	if !o.queue.working {
		o.queue.working = true
		// Ends when the queue is empty. After an interrupt of the connection no write waits.
		o.wg.Go(o.sendQueued)
	}
}

func (a *queued) tell(err error) {
	if a.done != nil {
		a.done <- err
	}
}

// close has no more goroutines started. Frames that are queued are still sent.
func (o *sharedOut) close() {
	o.queue.mu.Lock()
	defer o.queue.mu.Unlock()
	o.queue.closed = true
}

// start runs f in a goroutine, or here if no more goroutines are started.
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
	o.stopped = o.stopped || last
	return err
}

// prepare returns the frames to send. last reports whether nothing is sent after them. The lock is held.
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

// send sends a frame, and waits until it is sent or the context ends. After the end of the context the frame may still
// be sent. If skip returns true when the frame's turn comes, the frame is not sent and the error is errSkipped. send
// owns the frame, and puts it into the pool.
func (o *sharedOut) send(ctx context.Context, frame *[]byte, skip func() bool) error {
	done := make(chan error, 1)
	if o.mu.TryLock() {
		rest, err := o.sendNow(*frame, skip)
		if len(rest) == 0 || err != nil {
			o.mu.Unlock()
			putFrame(frame)
			return err
		}
		o.sendRest(rest, func(err error) {
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

// sendNow sends as many bytes of a frame as the system takes at once, and returns the rest. skip is as for send, or
// nil. The lock is held.
func (o *sharedOut) sendNow(frame []byte, skip func() bool) (rest []byte, err error) {
	if o.stopped || skip != nil && skip() {
		return nil, errSkipped
	}
	n, err := o.line.writeNow([][]byte{frame})
	if err != nil {
		o.stopped = true
		o.failed(err)
	}
	return frame[n:], err
}

// sendRest has a goroutine send the rest of a frame, release the lock, and call tell with the result. The lock is held.
func (o *sharedOut) sendRest(rest []byte, tell func(error)) {
	// Ends when the rest has been sent. There is a time limit for that, and an interrupt of the connection ends it too.
	o.start(func() {
		err := o.write([][]byte{rest})
		o.mu.Unlock()
		tell(err)
	})
}

// nextQueued returns the frames to send next. It returns nil if there are none, and then the goroutine ends. sent are
// the frames of the last call.
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
		list, q.pong = slices.Insert(list, 0, pong), nil // It does not wait behind the queue.
	}
	q.working = list != nil
	return list
}
