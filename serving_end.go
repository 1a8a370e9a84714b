package wsep

import (
	"context"
	"errors"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// How a conversation ends at the server: what the client is told, and what the server waits for.

// refuse tells the client why its command did not start. A client without outcome learns it from the close frame.
func (s *serving) refuse(err error) error {
	if s.peer.Outcome {
		reason := err
		if start, ok := errors.AsType[*StartError](err); ok {
			reason = start.Err
		}
		// If this send fails, the caller's close frame fails too.
		_ = s.send(proto.StartError{Kind: kindOf(err), Message: cutString(reason.Error(), maxErrorText)})
	}
	return err
}

// reportExit tells the client how the process exited. The process has exited, or its output has been sent. If the output
// goes on after the exit, reportExit then waits for its end and tells the client of that too.
func (s *serving) reportExit(ctx context.Context, sent <-chan struct{}) error {
	await(sent, ctx.Done(), pendingGrace)
	waited := s.wait()
	pending := !isClosed(sent) || s.cutShort() != nil
	s.release() // Before the client knows: it may start the next command at once.
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.cutShort(); err != nil && !s.endsApart() {
		return err // To such a client the exit message is also the end of the output.
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

// cutShort returns an error if an output was lost before its end, for example because the connection behind it was lost.
// Then the client's output must not look complete.
func (s *serving) cutShort() error {
	cut := s.cut.Load()
	if cut == nil {
		return nil
	}
	return disconnected(xerrors.Errorf("read output: %w", *cut))
}

// exited returns a channel that is closed when the process has exited, even if its output has not been sent. The channel is
// nil, and so never ready, if the process or the client does not support this.
func (s *serving) exited() <-chan struct{} {
	p, ok := processAs[Exiter](s.process)
	if !ok || !s.endsApart() {
		return nil
	}
	return p.Exited()
}

// endsApart reports whether the client can be told of the process's exit before it is told of the output's end.
func (s *serving) endsApart() bool { return s.peer.Window > 0 && s.peer.Outcome }

// pendingGrace is how long the output may go on after the exit before the client is told of the exit.
const pendingGrace = 50 * time.Millisecond

// tell tells the client how the process exited.
func (s *serving) tell(exit proto.ExitCode, waited error) error {
	if !s.peer.Outcome {
		if exit.Kind != "" {
			// To an older client every exit message means that the process exited. The close frame tells it the truth.
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

// awaitClose gives the client time to read everything and to close the connection. If the connection were closed here first,
// unread messages would be lost. A client answers pings in the order in which it reads, so a pong says that it has read
// everything.
func (s *serving) awaitClose(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan struct{})
	// Most clients close the connection at once.
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

// askDelay is how long a client has to close the connection before it is asked whether it has read everything.
const askDelay = 100 * time.Millisecond

// ask pings the client until it answers, ctx ends or the connection is lost.
func (s *serving) ask(ctx context.Context) {
	for {
		err := s.conn.Ping(ctx)
		// The library has a timeout of its own, which a ping behind a long message can exceed.
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

// awaitExit waits for a process whose context has ended, and for the rest of its group. A process that takes too long still
// counts until it has exited.
func (s *serving) awaitExit() {
	limit := endTimeout
	group, hasGroup := processAs[processGroup](s.process)
	if hasGroup {
		limit += group.endDelay()
	}
	ended := make(chan struct{})
	// Ends when the process and its group have exited.
	go func() {
		defer close(ended)
		_ = s.wait()
		if hasGroup {
			group.awaitGroup()
		}
		s.release()
	}()
	select {
	case <-ended:
	case <-time.After(limit):
		s.opts.log().Error(context.Background(), "process did not end with its context", slog.F("pid", s.process.Pid()))
	}
}

// processGroup is a process of this machine whose group may outlive it.
type processGroup interface {
	// endDelay is how long the group has to exit before it is killed.
	endDelay() time.Duration
	// awaitGroup waits until no process of the group is left, or its time is up. The process's context has ended.
	awaitGroup()
}

// endTimeout is how long a process may take to exit after its context has ended, in addition to a LocalExecer's KillDelay.
const endTimeout = 5 * time.Second

// connectionEnd returns what Serve returns when the connection was closed or lost before the process exited.
func (s *serving) connectionEnd(err error) error {
	if _, ok := errors.AsType[*protocolError](err); ok {
		return err
	}
	if code, _, ok := peerClose(err); ok && code == statusNormal {
		return nil
	}
	return disconnected(xerrors.Errorf("read message: %w", err))
}
