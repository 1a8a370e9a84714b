package wsplice

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// outlet is the way to a remote. What is sent is written at once by whoever sends it, as far as the system takes it
// without waiting. The rest goes to a queue, which a goroutine empties that lives only while there is something in
// it. So a remote that does not read delays nobody else.
type outlet struct {
	line    *line
	timeout time.Duration           // how long the remote may take nothing
	failed  func(error)             // called when writing fails; it must not wait
	drained func()                  // if set, called after bytes have been taken from the queue, with the lock held
	moved   chan struct{}           // has room for one, sent when bytes have been taken from the queue
	urgent  *atomic.Pointer[[]byte] // of the batch: the newest pong, which waits to be sent between two frames
	taken   atomic.Int64            // how many bytes have been taken from the queue
	wg      *sync.WaitGroup

	mu      sync.Mutex // guards what follows
	queue   queue
	working bool          // the goroutine lives
	idle    chan struct{} // closed when the last goroutine has ended
	over    bool          // nothing is sent any more
	inFrame bool          // what has been sent ends within a frame
}

var (
	errSlow         = &violation{ws.StatusPolicyViolation, "remote reads too slowly, its queue is full"}
	errWriteTimeout = &violation{ws.StatusPolicyViolation, "remote has taken nothing for the write timeout"}
	errWindow       = &violation{ws.StatusPolicyViolation, "more was sent than the window allows"}
)

// send sends a batch, without waiting. inFrame says that it ends within a frame. It reports false if the queue would
// have more than limit bytes, and then nothing has been sent. It adds payload, which is how much of the batch belongs
// to messages, to total.
func (o *outlet) send(pieces [][]byte, payload int64, total *int64, inFrame bool, limit int) (sent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return true
	}
	pieces = o.writeNow(pieces)
	if size := sizeOf(pieces); size > 0 && o.queue.size > 0 && o.queue.size+size > limit {
		return false
	}
	o.enqueue(pieces)
	if *total += payload; o.drained != nil {
		o.drained()
	}
	o.inFrame = inFrame
	o.sendUrgent()
	return true
}

// writeNow writes what can be written at once and returns the rest. The lock is held.
func (o *outlet) writeNow(pieces [][]byte) [][]byte {
	if o.working || len(pieces) == 0 {
		return pieces
	}
	n, err := o.line.writeNow(pieces)
	if err != nil {
		o.over = true
		o.failed(err)
		return nil
	}
	return advance(pieces, n)
}

// enqueue queues pieces. The lock is held.
func (o *outlet) enqueue(pieces [][]byte) {
	if len(pieces) == 0 || o.over {
		return
	}
	for _, p := range pieces {
		o.queue.push(p)
	}
	if !o.working {
		o.working, o.idle = true, make(chan struct{})
		// Ends when the queue is empty or the remote can't be written to, for which interrupting its connection is
		// enough.
		o.wg.Go(o.work)
	}
}

// pong answers a ping when no frame has begun and nothing else waits, or before the next frame. Until then a newer one
// takes its place (RFC 6455 section 5.5.3), so that a remote that does not read costs one, however many pings it sends.
func (o *outlet) pong(payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	frame := appendFrame(nil, ws.OpPong, true, payload)
	o.urgent.Store(&frame)
	o.sendUrgent()
}

// sendUrgent sends the pong that waits, unless something else does. The lock is held.
func (o *outlet) sendUrgent() {
	if o.working {
		return
	}
	if pong := o.takeUrgent(); pong != nil {
		o.enqueue(o.writeNow([][]byte{pong}))
	}
}

// takeUrgent returns the pong that may be sent now, or nil. The lock is held.
func (o *outlet) takeUrgent() []byte {
	if o.inFrame || o.over {
		return nil
	}
	if pong := o.urgent.Swap(nil); pong != nil {
		return *pong
	}
	return nil
}

// close sends a close frame as the last that is sent. It reports false if that is impossible, because a frame has
// begun that will not be ended.
func (o *outlet) close(c closing) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over || o.inFrame {
		o.over = true
		return false
	}
	o.enqueue(o.writeNow([][]byte{appendFrame(nil, ws.OpClose, true, c.payload())}))
	o.over = true
	return true
}

// wait waits until everything has been sent, or can't be. Nothing more may be sent.
func (o *outlet) wait() {
	o.mu.Lock()
	idle := o.idle
	o.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// work empties the queue.
func (o *outlet) work() {
	for {
		pieces := o.front()
		if pieces == nil {
			return
		}
		o.line.endWrites(o.timeout)
		n, err := o.line.writeSome(pieces)
		o.took(n, err)
	}
}

// front returns what is to be written next, or nil, and then the goroutine ends.
func (o *outlet) front() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.queue.size == 0 {
		o.queue.push(o.takeUrgent())
	}
	if o.queue.size == 0 {
		// Under the lock, or it would be the next goroutine's deadline.
		o.line.endWrites(0)
		o.working = false
		close(o.idle)
		return nil
	}
	return o.queue.front()
}

// took removes what has been written. After an error the queue is dropped.
func (o *outlet) took(n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue.drop(n)
	o.taken.Add(int64(n))
	if err != nil {
		if isTimeout(err) {
			err = errWriteTimeout
		}
		o.over = true
		o.queue.drop(o.queue.size)
		o.failed(err)
	}
	if o.drained != nil {
		o.drained()
	}
	select {
	case o.moved <- struct{}{}:
	default:
	}
}

func sizeOf(pieces [][]byte) (n int) {
	for _, p := range pieces {
		n += len(p)
	}
	return n
}

// queue is bytes in blocks. Its zero value is empty.
type queue struct {
	blocks []*[]byte
	start  int // of the bytes in the first block
	size   int
}

// push copies p to the end.
func (q *queue) push(p []byte) {
	q.size += len(p)
	for len(p) > 0 {
		if n := len(q.blocks); n == 0 || len(*q.blocks[n-1]) == blockSize {
			q.blocks = append(q.blocks, blockPool.get())
		}
		last := q.blocks[len(q.blocks)-1]
		n := min(len(p), blockSize-len(*last))
		*last = append(*last, p[:n]...)
		p = p[n:]
	}
}

// maxFront is how many blocks are written at a time.
const maxFront = 4

// front returns the first bytes. They stay as they are until they are dropped.
func (q *queue) front() [][]byte {
	pieces := make([][]byte, 0, maxFront)
	start := q.start
	for _, b := range q.blocks[:min(len(q.blocks), maxFront)] {
		pieces = append(pieces, (*b)[start:])
		start = 0
	}
	return pieces
}

// drop removes the first n bytes.
func (q *queue) drop(n int) {
	q.size -= n
	q.start += n
	done := 0
	for done < len(q.blocks) && q.start >= len(*q.blocks[done]) {
		q.start -= len(*q.blocks[done])
		blockPool.put(q.blocks[done])
		q.blocks[done] = nil
		done++
	}
	if q.blocks = q.blocks[done:]; q.size == 0 {
		q.blocks = nil
	}
}
