package serve

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Spread ends requests one after the other, so that the clients of a server that goes do not all come to another one at the same
// moment. The zero value is ready to use.
type Spread struct {
	mu       sync.Mutex // guards what follows
	next     int
	requests map[int]context.CancelFunc
	ending   bool
}

const (
	// spreadPause is the time between the ends of two requests.
	spreadPause = 10 * time.Millisecond
	// spreadLimit bounds how long it takes to end all of them.
	spreadLimit = 5 * time.Second
)

// Over returns a handler whose requests End ends. After End it refuses requests with status 503.
func (s *Spread) Over(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		id, ok := s.add(cancel)
		if !ok {
			http.Error(w, "ending", http.StatusServiceUnavailable)
			return
		}
		defer s.remove(id)
		handler.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s *Spread) add(cancel context.CancelFunc) (id int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return 0, false
	}
	if s.requests == nil {
		s.requests = map[int]context.CancelFunc{}
	}
	s.next++
	s.requests[s.next] = cancel
	return s.next, true
}

func (s *Spread) remove(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
}

// End ends the contexts of all requests, in random order, within five seconds. If ctx ends it leaves the rest as they are.
func (s *Spread) End(ctx context.Context) {
	s.mu.Lock()
	s.ending = true
	var ends []context.CancelFunc
	for _, end := range s.requests { // In random order, as Go has it.
		ends = append(ends, end)
	}
	s.mu.Unlock()
	pause := spreadPause
	if len(ends) > 0 {
		pause = min(pause, spreadLimit/time.Duration(len(ends)))
	}
	for _, end := range ends {
		end()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
