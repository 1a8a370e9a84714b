package wsep

import (
	"context"
	"errors"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// How a conversation ends at the server: what the client is told, and what is waited for.

// refuse tells a client that can be told why its command did not start. Others learn it from the close frame.
func (s *serving) refuse(err error) error {
	if s.peer.Outcome {
		reason := err
		if start, ok := errors.AsType[*StartError](err); ok {
			reason = start.Err
		}
		// If this can't be sent the caller's close frame can't either.
		_ = s.send(proto.StartError{Kind: kindOf(err), Message: cutString(reason.Error(), maxErrorText)})
	}
	return err
}

// conclude tells the client how the process ended, once its output has been sent or it has ended. Output that goes on
// without it is waited for after that.
func (s *serving) conclude(ctx context.Context, sent <-chan struct{}) error {
	await(sent, ctx.Done(), pendingGrace)
	waited := s.wait()
	pending := !isClosed(sent) || s.cutShort() != nil
	s.release() // Before the client knows: it may start the next.
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.cutShort(); err != nil && !s.endsApart() {
		return err // Such a client takes the exit message for the end of all.
	}
	exit := outcome(waited)
	exit.Pending = pending
	if err := s.tell(exit, waited); err != nil || !pending {
		return err
	}
	select {
	case <-sent:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.cutShort(); err != nil {
		return err
	}
	return s.tellEnd(proto.End{})
}

// cutShort returns an error if an output has ended before its end, as when the connection behind it was lost. The client's
// must not look complete.
func (s *serving) cutShort() error {
	cut := s.cut.Load()
	if cut == nil {
		return nil
	}
	return disconnected(xerrors.Errorf("read output: %w", *cut))
}

// exited returns a channel that is closed when the process has ended, perhaps before its output has been sent. It is nil,
// which is never ready, if the process or the client does not go with that.
func (s *serving) exited() <-chan struct{} {
	p, ok := processAs[Exiter](s.process)
	if !ok || !s.endsApart() {
		return nil
	}
	return p.Exited()
}

// endsApart reports whether the client can be told of the process's end and of the output's one after the other.
func (s *serving) endsApart() bool { return s.peer.Window > 0 && s.peer.Outcome }

// pendingGrace is how long after its process's end output is waited for before the client is told about the end.
const pendingGrace = 50 * time.Millisecond

// tell tells the client how the process ended.
func (s *serving) tell(exit proto.ExitCode, waited error) error {
	if !s.peer.Outcome {
		if exit.Kind != "" {
			// An older client takes every exit message for a process that ended. The close frame tells it the truth.
			return xerrors.Errorf("wait: %w", waited)
		}
		exit.Signal = ""
	}
	return s.tellEnd(exit)
}

func (s *serving) tellEnd(m any) error {
	if err := s.send(m); err != nil {
		return disconnected(xerrors.Errorf("send end: %w", err))
	}
	return nil
}

// awaitClose gives the client a moment to close the connection, once it has read all: what it has not is lost when the
// connection is closed here. A client answers pings in the order in which it reads.
func (s *serving) awaitClose(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan struct{})
	// Most clients close at once.
	asking := time.AfterFunc(askDelay, func() {
		defer close(answered)
		s.ask(ctx)
	})
	defer asking.Stop()
	var timeout <-chan time.Time
	for {
		select {
		case <-s.readErr:
			return
		case <-s.lost:
			return
		case <-ctx.Done():
			return
		case <-answered:
			answered = nil
			timeout = time.After(closeGrace)
		case <-timeout:
			return
		}
	}
}

// askDelay is how long a client has for closing the connection before it is asked whether it has read all.
const askDelay = 100 * time.Millisecond

// ask pings the client until that answers, ctx ends or the connection fails.
func (s *serving) ask(ctx context.Context) {
	for {
		err := s.conn.Ping(ctx)
		// The library has a timeout of its own, for a ping that waits behind a message.
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

// awaitEnd waits for a process whose context has ended, and for the rest of its group. What takes too long goes on
// counting until it has ended.
func (s *serving) awaitEnd() {
	limit := endTimeout
	group, hasGroup := processAs[processGroup](s.process)
	if hasGroup {
		limit += group.endDelay()
	}
	ended := make(chan struct{})
	// Ends with the process.
	go func() {
		defer close(ended)
		_ = s.wait()
		if hasGroup {
			group.awaitGone()
		}
		s.release()
	}()
	select {
	case <-ended:
	case <-time.After(limit):
		s.opts.log().Error(context.Background(), "process did not end with its context", slog.F("pid", s.process.Pid()))
	}
}

// processGroup is a process of this machine, of which more may be left than itself.
type processGroup interface {
	// endDelay is how long the group has for its end before it is killed.
	endDelay() time.Duration
	// awaitGone waits until nothing is left of a process whose context has ended, or it has had its time.
	awaitGone()
}

// endTimeout is how long a process may take to end after its context has ended, beside a LocalExecer's KillDelay.
const endTimeout = 5 * time.Second

// connectionEnd returns what Serve returns when the connection ended before the process.
func (s *serving) connectionEnd(err error) error {
	if _, ok := errors.AsType[*protocolError](err); ok {
		return err
	}
	if code, _, ok := peerClose(err); ok && code == statusNormal {
		return nil
	}
	return disconnected(xerrors.Errorf("read message: %w", err))
}
