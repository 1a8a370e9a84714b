package wsep

import (
	"context"
	"sync"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// clientRequests are what a client asks of its process, other than stdin's bytes: close_stdin, resize, signal, close. If they
// are numbered, each is kept until the server has taken it, and is sent again over the next connection.
type clientRequests struct {
	numbered bool          // set before the first request
	room     chan struct{} // has room for one: a request that waits for room looks again

	mu      sync.Mutex      // guards what follows
	link    *link           // nil while there is no connection
	last    int64           // the number of the newest request
	queue   []clientRequest // the ones that the server has not taken, the oldest first; without numbers, that were not sent
	sent    int             // how many of these were sent over the link
	written int64           // the number of the newest one written to the link; 0 without one, or without numbers
	tried   int64           // the number of the newest one that was to be written to any link
	ending  bool            // close_stdin is to join the queue when all of stdin was sent
	drained bool            // all of stdin was sent over the link
	sending bool            // the goroutine lives
	closed  bool            // nothing is sent any more
	changed *sync.Cond      // written or sending has changed
}

func newClientRequests() *clientRequests {
	r := &clientRequests{room: make(chan struct{}, 1)}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// clientRequest is a request that waits to be sent or taken.
type clientRequest struct {
	m    any
	sent chan error // receives how sending it went; nil if nobody waits for that
}

// request asks the server for something, if the process has not exited. A numbered request is sent later: request returns
// when there is room to keep it. Other requests it sends. When the context ends request returns, but a request that is being
// sent is sent all the same: interrupting a write would cost the connection.
func (p *remoteProcess) request(ctx context.Context, m any) error {
	if isClosed(p.done) {
		return p.doneError()
	}
	r := clientRequest{m: m}
	if !p.requests.numbered {
		r.sent = make(chan error, 1)
	}
	for !p.requests.add(r) {
		select {
		case <-p.requests.room:
		case <-p.done:
			return p.doneError()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if r.sent == nil {
		return nil
	}
	select {
	case err := <-r.sent:
		if err != nil {
			return disconnected(err)
		}
		return nil
	case <-p.done:
		return p.doneError()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add keeps a request and makes it sent, unless too many are kept. A resize replaces a resize that was not sent.
func (r *clientRequests) add(request clientRequest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.numbered && r.replace(request) {
		return true
	}
	if r.numbered && len(r.queue) >= maxRequests {
		return false
	}
	r.push(request)
	return true
}

// push puts a request at the end of the queue. The lock is held.
func (r *clientRequests) push(request clientRequest) {
	if r.numbered {
		r.last++
		request.m = withSeq(request.m, r.last)
	}
	r.queue = append(r.queue, request)
	r.work()
}

// replace puts a resize in the place of the newest request, if that is a resize that was never sent. A server ignores another
// request with a number that it has. The lock is held.
func (r *clientRequests) replace(request clientRequest) bool {
	last := len(r.queue) - 1
	resize, ok := request.m.(proto.Resize)
	if !ok || last < 0 || r.last <= r.tried {
		return false
	}
	waiting, ok := r.queue[last].m.(proto.Resize)
	if !ok {
		return false
	}
	resize.Seq = waiting.Seq
	r.queue[last].m = resize
	return true
}

// withSeq returns a request with a number.
func withSeq(m any, seq int64) any {
	switch m := m.(type) {
	case proto.Resize:
		m.Seq = seq
		return m
	case proto.Signal:
		m.Seq = seq
		return m
	case proto.Close:
		m.Seq = seq
		return m
	case proto.CloseStdin:
		m.Seq = seq
		return m
	}
	return m
}

// endStdin asks for the end of stdin, once all of stdin was sent. No other request waits for that.
func (r *clientRequests) endStdin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
	r.pushEnd()
}

// pushEnd puts close_stdin into the queue when it is due. It may exceed the bound by one. The lock is held.
func (r *clientRequests) pushEnd() {
	if r.ending && r.drained {
		r.ending = false
		r.push(clientRequest{m: proto.CloseStdin{}})
	}
}

// stdinSent records that a link has carried all of stdin.
func (r *clientRequests) stdinSent(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == l {
		r.drained = true
		r.pushEnd()
		r.work()
	}
}

// acknowledged drops the requests up to a number: the server has taken them. 0 says nothing.
func (r *clientRequests) acknowledged(seq int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.last - int64(len(r.queue)) + 1
	if seq > r.last {
		return xerrors.Errorf("ack of request %d, the last is %d: %w", seq, r.last, flow.ErrAck)
	}
	if n := int(seq - first + 1); n > 0 && r.numbered {
		r.queue = append(r.queue[:0], r.queue[n:]...)
		r.sent = max(0, r.sent-n)
		wake(r.room)
	}
	return nil
}

// attach begins to send over a link, first the requests that the server has not taken.
func (r *clientRequests) attach(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.link, r.sent, r.written, r.drained = l, 0, 0, false
	r.work()
}

// detach stops sending over a link.
func (r *clientRequests) detach(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == l {
		r.link = nil
	}
}

// close stops sending.
func (r *clientRequests) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// awaitSizes waits until the newest resize is written, if requests are being sent. What was typed after that resize must follow
// it. The requests before it are written first. If the connection is lost it waits no longer.
func (r *clientRequests) awaitSizes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest, first := int64(0), r.last-int64(len(r.queue))+1
	for i, request := range r.queue {
		if isResize(request.m) {
			newest = first + int64(i)
		}
	}
	for r.sending && r.written < newest {
		r.changed.Wait()
	}
}

// work starts the goroutine if there is something to send and it does not run. The lock is held.
func (r *clientRequests) work() {
	if r.sending || r.next() == nil {
		return
	}
	r.sending = true
	// Ends when all is sent, or the connection is lost.
	go r.send()
}

// next returns the next request that may be sent, or nil. The lock is held.
func (r *clientRequests) next() *clientRequest {
	if r.link == nil || r.closed || r.sent >= len(r.queue) {
		return nil
	}
	request := &r.queue[r.sent]
	if _, ok := request.m.(proto.CloseStdin); ok && !r.drained {
		return nil
	}
	return request
}

func (r *clientRequests) send() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for next := r.next(); next != nil; next = r.next() {
		r.sendOne(r.link, *next)
	}
	r.sending = false
	r.changed.Broadcast()
}

// sendOne sends a request over a link. The lock is held, but not while sendOne writes.
func (r *clientRequests) sendOne(l *link, request clientRequest) {
	number := int64(0)
	if r.numbered {
		r.sent++
		number = r.last - int64(len(r.queue)) + int64(r.sent)
		r.tried = max(r.tried, number)
	} else {
		r.queue = r.queue[1:]
	}
	r.mu.Unlock()
	err := l.send(request.m)
	if request.sent != nil {
		request.sent <- err
	}
	r.mu.Lock()
	switch {
	case r.link != l:
	case err != nil:
		r.link = nil
		l.fail(err)
	default:
		r.written = number
		r.changed.Broadcast()
	}
}
