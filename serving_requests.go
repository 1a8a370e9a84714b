package wsep

import (
	"io"
	"sync"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/peerlog"
	"cdr.dev/wsep/internal/proto"
)

// maxRequests bounds how many requests wait: at the server for a slow process, at the client for the server.
const maxRequests = 64

// requests are what the client asks of its process, other than stdin's bytes: close_stdin, resize, signal, close. A
// goroutine runs them in their order, and ends when there are none. So the reader never waits for a slow process.
type requests struct {
	conversation *conversation

	mu      sync.Mutex // guards what follows
	queue   []request
	last    int64 // the number of the newest that has come; 0 if the client does not number them
	taken   int64 // the number of the newest that was run, or is being run
	started bool  // the process runs
	working bool

	noise peerlog.Ration // bounds the log
}

// request is a message with its number, which is 0 if it has none.
type request struct {
	m   any
	seq int64
}

// begin starts running the requests. The process has started.
func (r *requests) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	r.work()
}

// add adds a request. It ignores one that has come before, over an earlier connection. A resize replaces a resize that
// waits at the end of the queue. The process gets what is typed after a resize when that is done.
func (r *requests) add(m any, seq int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq > 0 && seq <= r.last {
		return nil
	}
	if (seq != 0 || r.last > 0) && seq != r.last+1 {
		return protocolErrorf("request %d after request %d", seq, r.last)
	}
	r.last = seq
	if r.conversation.forward.Load() == nil && r.replace(m, seq) {
		return nil
	}
	if len(r.queue) >= maxRequests {
		return protocolErrorf("%d requests wait for the process", maxRequests)
	}
	r.queue = append(r.queue, request{m, seq})
	if isResize(m) {
		r.conversation.stdin.Hold()
	}
	r.work()
	return nil
}

func isResize(m any) bool {
	_, ok := m.(proto.Resize)
	return ok
}

// replace puts a resize in the place of a resize at the end of the queue, if there is one. The lock is held.
func (r *requests) replace(m any, seq int64) bool {
	last := len(r.queue) - 1
	if last < 0 || !isResize(m) || !isResize(r.queue[last].m) {
		return false
	}
	r.queue[last] = request{m, seq}
	return true
}

// resumeAt makes the next request the one after the number.
func (r *requests) resumeAt(seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = seq
}

// lastTaken returns the number of the newest request that was taken.
func (r *requests) lastTaken() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

// work starts the goroutine if there are requests and it does not run. The lock is held.
func (r *requests) work() {
	if r.working || !r.started || len(r.queue) == 0 {
		return
	}
	r.working = true
	// Ends when the queue is empty.
	go func() {
		for m, ok := r.next(); ok; m, ok = r.next() {
			if err := r.conversation.do(m); err != nil {
				r.logFailed(describe(bulk{}, m), err)
			}
			if isResize(m) {
				r.conversation.stdin.Release()
			}
		}
	}()
}

func (r *requests) logFailed(name string, err error) {
	if ok, unlogged := r.noise.Take(); ok {
		c := r.conversation
		c.opts.log().Debug(c.ctx, "request failed", slog.F("request", name), slog.F("unlogged", unlogged), slog.Error(err))
	}
}

// next takes a request off the queue, and acknowledges it.
func (r *requests) next() (any, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 || r.conversation.ctx.Err() != nil {
		r.working = false
		r.drop()
		return nil, false
	}
	next := r.queue[0]
	r.queue = r.queue[1:]
	if next.seq > 0 && r.conversation.forward.Load() == nil {
		r.taken = next.seq
		r.conversation.requestReceipt.send(next.seq)
	}
	return next.m, true
}

// drop drops the requests that wait. The lock is held.
func (r *requests) drop() {
	for _, dropped := range r.queue {
		if isResize(dropped.m) {
			r.conversation.stdin.Release()
		}
	}
	r.queue = nil
}

// do passes one request to the process.
func (c *conversation) do(m any) error {
	if f := c.forward.Load(); f != nil {
		return f.request(m)
	}
	switch m := m.(type) {
	case proto.CloseStdin:
		c.stdin.Close(io.EOF)
	case proto.Resize:
		if m.Rows == 0 || m.Cols == 0 {
			return xerrors.Errorf("resize to %d rows and %d columns", m.Rows, m.Cols)
		}
		return c.process.Resize(c.ctx, m.Rows, m.Cols)
	case proto.Close:
		return c.process.Close()
	case proto.Signal:
		return signalProcess(c.ctx, c.process, m.Signal)
	}
	return nil
}
