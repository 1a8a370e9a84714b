package wsep

import (
	"context"
	"sync"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// maxRequests bounds how many requests wait for a slow process.
const maxRequests = 64

// requests are the client's messages for its process other than stdin: resize, signal, close. A goroutine runs them in their
// order, and ends when there are none. So the reader never waits for a slow process.
type requests struct {
	mu      sync.Mutex // guards what follows
	queue   []any
	serving *serving        // nil until the process runs
	ctx     context.Context // the process's context
	working bool
}

// begin starts running the requests. The process has started.
func (r *requests) begin(ctx context.Context, s *serving) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.serving = ctx, s
	r.work()
}

// add adds a request. A resize replaces a resize that waits at the end of the queue.
func (r *requests) add(m any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.queue) - 1
	if _, ok := m.(proto.Resize); ok && last >= 0 {
		if _, ok := r.queue[last].(proto.Resize); ok {
			r.queue[last] = m
			return nil
		}
	}
	if len(r.queue) >= maxRequests {
		return protocolErrorf("%d requests wait for the process", maxRequests)
	}
	r.queue = append(r.queue, m)
	r.work()
	return nil
}

// work starts the goroutine if there are requests and it does not run. The lock is held.
func (r *requests) work() {
	if r.working || r.serving == nil || len(r.queue) == 0 {
		return
	}
	r.working = true
	// Ends when the queue is empty.
	go func() {
		for m, ok := r.next(); ok; m, ok = r.next() {
			if err := r.serving.do(r.ctx, m); err != nil {
				r.serving.logFailed(r.ctx, describe(bulk{}, m), err)
			}
		}
	}()
}

func (s *serving) logFailed(ctx context.Context, request string, err error) {
	if ok, unlogged := s.noise.Take(); ok {
		s.opts.log().Debug(ctx, "request failed", slog.F("request", request), slog.F("unlogged", unlogged), slog.Error(err))
	}
}

func (r *requests) next() (any, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 || r.ctx.Err() != nil {
		r.working = false
		r.queue = nil
		return nil, false
	}
	m := r.queue[0]
	r.queue = r.queue[1:]
	return m, true
}

// do passes one request to the process.
func (s *serving) do(ctx context.Context, m any) error {
	switch m := m.(type) {
	case proto.Resize:
		if m.Rows == 0 || m.Cols == 0 {
			return xerrors.Errorf("resize to %d rows and %d columns", m.Rows, m.Cols)
		}
		return s.process.Resize(ctx, m.Rows, m.Cols)
	case proto.Close:
		return s.process.Close()
	case proto.Signal:
		return signalProcess(ctx, s.process, m.Signal)
	}
	return nil
}
