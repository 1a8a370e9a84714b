package wsep

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// How a connection carries several conversations, one after the other. Each has a serving of its own. The next one begins when
// the reader of the last one has read done, so nothing of a conversation reaches the next.

// reuse is what a serving knows of its connection's other conversations.
type reuse struct {
	until   time.Time   // when the connection is no longer offered for another conversation
	again   bool        // this is not the connection's first conversation
	granted atomic.Bool // the client was told that another one may follow
	last    atomic.Bool // the last message is being sent, or was
	done    atomic.Bool // the client has read everything, or wants no more
	early   any         // the message that began the next conversation; owned by the reader, and by serveAll after that
	carried any         // such a message of the conversation before; owned by the reader
}

// errDone says that the client is done with the conversation, and not with the connection.
var errDone = xerrors.New("client is done")

// grantReuse decides whether the connection may carry another conversation.
func (s *serving) grantReuse() bool {
	may := s.peer.Reuse && s.peer.Window > 0 && s.peer.Outcome && time.Now().Before(s.reuse.until)
	s.reuse.granted.Store(may)
	return may
}

// nextMark returns the mark for the connection's next start, if there may be one: see [Server.mark]. What was granted is known.
func (s *serving) nextMark() string {
	if !s.reuse.granted.Load() {
		return ""
	}
	return s.server.mark(s.opts.Owner)
}

// handleDone ends the reader. To the conversation this is the client's 1000.
func (s *serving) handleDone() error {
	if !s.reuse.granted.Load() {
		return protocolErrorf("done without reuse")
	}
	s.reuse.done.Store(true)
	return errDone
}

// follows reports whether a message begins the next conversation. It says done too.
func (s *serving) follows(msg any) bool {
	switch msg.(type) {
	case proto.Start, proto.Resume, proto.Ask:
	default:
		return false
	}
	if !s.asked || !s.reuse.granted.Load() || !s.reuse.last.Load() {
		return false
	}
	s.reuse.early = msg
	s.reuse.done.Store(true)
	return true
}

// next reads the next message. The first one may have come already.
func (s *serving) next() (bulk, any, error) {
	if msg := s.reuse.carried; msg != nil {
		s.reuse.carried = nil
		return bulk{}, msg, nil
	}
	return s.link.read(proto.StdinHeader)
}

// awaitNext waits for the message that begins the next conversation. It returns nil when the connection has ended before, or has
// rested for too long: nothing is under way then.
func (s *serving) awaitNext(ctx context.Context) (any, error) {
	dismissed, rise := s.server.rest()
	defer rise()
	tooLong := time.NewTimer(time.Until(s.reuse.until))
	defer tooLong.Stop()
	select {
	case first := <-s.first:
		return first, nil
	case err := <-s.readErr:
		if err = s.connectionEnd(err); isLoss(err) {
			return nil, nil
		}
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-dismissed:
	case <-tooLong.C:
	}
	select {
	case first := <-s.first: // It has come at the same time.
		return first, nil
	default:
		return nil, nil
	}
}

// rest counts a connection among those that wait for another conversation, until rise is called. dismissed is closed when the
// connection is no longer wanted.
func (srv *Server) rest() (dismissed <-chan struct{}, rise func()) {
	c := make(chan struct{})
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.resting == nil {
		srv.resting = make(map[chan struct{}]struct{})
	}
	srv.resting[c] = struct{}{}
	return c, func() {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		delete(srv.resting, c)
	}
}

// CloseIdleConnections makes Serve return for the connections that wait for another command: see [Options.MaxLife]. It does not
// wait for that. The other connections are not affected, and may wait for another command later.
func (srv *Server) CloseIdleConnections() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for c := range srv.resting {
		close(c)
		delete(srv.resting, c)
	}
}

// serveAll serves a connection's conversations until the client closes the connection, or one of them fails.
func (srv *Server) serveAll(ctx context.Context, conn Conn, execer Execer, opts *Options) error {
	until := time.Now().Add(opts.MaxLife)
	var carried any
	for again := false; ; again = true {
		s := newServing(srv, conn, execer, opts)
		s.reuse.until, s.reuse.again, s.reuse.carried = until, again, carried
		if err := s.run(ctx); err != nil || !s.reuse.done.Load() {
			return err
		}
		s.silence(ctx)
		carried = s.reuse.early
	}
}

// silence makes sure that nothing more of this conversation is written. A client that does not read can delay that until ctx ends.
func (s *serving) silence(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = s.conn.CloseNow() })()
	s.endWrites()
}
