package wsplice

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// outlet sends to a remote. The sender writes as many bytes as the system takes without waiting. The rest goes to a
// queue. A goroutine empties the queue, and ends when it is empty. So a remote that does not read delays no other. An
// outlet also counts the bytes of messages that its remote has taken, and has them acknowledged.
type outlet struct {
	line    *line
	timeout time.Duration           // how long the remote may take nothing
	failed  func(error)             // called with the lock held when writing fails; it must not wait
	ack     func(n int64)           // if set, called with the lock held: the remote has taken n bytes more of messages
	ackUnit int64                   // the least n of ack, in bytes
	moved   chan struct{}           // has room for one value, sent when bytes have been taken from the queue
	urgent  *atomic.Pointer[[]byte] // the batch's: the newest pong, which waits to be sent between two frames
	taken   atomic.Int64            // how many bytes have been taken from the queue
	wg      *sync.WaitGroup

	mu      sync.Mutex // guards what follows
	queue   queue
	working bool          // the goroutine runs
	idle    chan struct{} // closed when the last goroutine has ended
	stopped bool          // nothing is sent any more
	inFrame bool          // the bytes sent so far end within a frame

	received int64 // bytes of messages that were sent
	acked    int64 // how many of them ack was told of
}

var (
	errSlow         = &violation{ws.StatusPolicyViolation, "remote reads too slowly, its queue is full"}
	errWriteTimeout = &violation{ws.StatusPolicyViolation, "remote has taken nothing for the write timeout"}
	errWindow       = &violation{ws.StatusPolicyViolation, "more was sent than the window allows"}
)

// send sends a batch, without waiting. payload is how many of its bytes belong to messages. inFrame says that the batch
// ends within a frame. send reports false if the queue would have more than limit bytes. Then nothing has been sent.
func (o *outlet) send(pieces [][]byte, payload int64, inFrame bool, limit int) (sent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		return true
	}
	pieces = o.writeNow(pieces)
	if size := sizeOf(pieces); size > 0 && o.queue.size > 0 && o.queue.size+size > limit {
		return false
	}
	o.enqueue(pieces)
	o.received += payload
	o.acknowledge()
	o.inFrame = inFrame
	o.sendUrgent()
	return true
}

// writeNow writes as many bytes as the system takes at once, and returns the rest. The lock is held.
func (o *outlet) writeNow(pieces [][]byte) [][]byte {
	if o.working || len(pieces) == 0 {
		return pieces
	}
	n, err := o.line.writeNow(pieces)
	if err != nil {
		o.stopped = true
		o.failed(err)
		return nil
	}
	return advance(pieces, n)
}

// enqueue queues pieces. The lock is held.
func (o *outlet) enqueue(pieces [][]byte) {
	if len(pieces) == 0 || o.stopped {
		return
	}
	for _, p := range pieces {
		o.queue.push(p)
	}
	if !o.working {
		o.working, o.idle = true, make(chan struct{})
		// Ends when the queue is empty, or when a write fails, as after an interrupt of the connection.
		o.wg.Go(o.work)
	}
}

// pong answers a ping: now if no frame has begun and the queue is empty, otherwise before the next frame. Until then a
// newer pong takes its place (RFC 6455 section 5.5.3). So a remote that does not read costs one pong, however many
// pings it sends.
func (o *outlet) pong(payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	frame := appendFrame(nil, ws.OpPong, true, payload)
	o.urgent.Store(&frame)
	o.sendUrgent()
}

// sendUrgent sends the pong that waits, unless bytes wait in the queue. The lock is held.
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
	if o.inFrame || o.stopped {
		return nil
	}
	if pong := o.urgent.Swap(nil); pong != nil {
		return *pong
	}
	return nil
}

// close sends a close frame, and nothing after it. It reports false if it can't, because the bytes sent so far end
// within a frame.
func (o *outlet) close(c closing) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped || o.inFrame {
		o.stopped = true
		return false
	}
	o.enqueue(o.writeNow([][]byte{appendFrame(nil, ws.OpClose, true, c.payload())}))
	o.stopped = true
	return true
}

// wait waits until the queue is empty or a write has failed. Nothing more may be sent.
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

// front returns the pieces to write next. It returns nil if there are none, and then the goroutine ends.
func (o *outlet) front() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.queue.size == 0 {
		o.queue.push(o.takeUrgent())
	}
	if o.queue.size == 0 {
		// It is cleared under the lock. Otherwise it could be the deadline of the next goroutine.
		o.line.endWrites(0)
		o.working = false
		close(o.idle)
		return nil
	}
	return o.queue.front()
}

// took removes n written bytes from the queue. After an error it drops the queue.
func (o *outlet) took(n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue.drop(n)
	o.taken.Add(int64(n))
	if err != nil {
		if isTimeout(err) {
			err = errWriteTimeout
		}
		o.stopped = true
		o.queue.drop(o.queue.size)
		o.failed(err)
	}
	o.acknowledge()
	select {
	case o.moved <- struct{}{}:
	default:
	}
}

// acknowledge calls ack when the remote has taken enough bytes of messages. The lock is held.
func (o *outlet) acknowledge() {
	if o.ack == nil {
		return
	}
	// The queue has headers too. So this is never more than the remote has taken, and exact when the queue is empty.
	taken := o.received - int64(o.queue.size)
	if n := taken - o.acked; n >= o.ackUnit {
		o.ack(n)
		o.acked = taken
	}
}

func sizeOf(pieces [][]byte) (n int) {
	for _, p := range pieces {
		n += len(p)
	}
	return n
}

// queue holds bytes in blocks. Its zero value is empty.
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

// front returns the first bytes. They do not change until they are dropped.
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
