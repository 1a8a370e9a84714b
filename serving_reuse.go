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

// startTimeout returns how long the client has for its first message. 0 or less means no bound.
func (s *serving) startTimeout() time.Duration {
	if s.reuse.again {
		return max(time.Until(s.reuse.until), 1)
	}
	return s.opts.StartTimeout
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
