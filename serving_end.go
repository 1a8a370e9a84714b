package wsep

import (
	"context"
	"errors"
	"time"

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

// report is how telling the client of the exit went.
type report struct {
	lost  error // the connection takes no more
	final error // the client can't be told, over any connection
}

// reportExit tells the client how the process exited. The process has exited, or all output has been sent. If the output
// goes on after the exit, reportExit then waits for its end and tells the client of that too. It gives up when ctx ends.
func (s *serving) reportExit(ctx context.Context) report {
	c := s.conv
	await(s.sentBoth, ctx.Done(), pendingGrace)
	if c.exited != nil && isClosed(c.exited) {
		c.learnExit()
	}
	select {
	case <-c.known:
	case <-ctx.Done():
		return report{lost: ctx.Err()}
	}
	cut := c.cutShort()
	if cut != nil && !s.endsApart() {
		return report{final: cut} // To such a client the exit message is also the end of the output.
	}
	pending := !isClosed(s.sentBoth) || cut != nil
	if r := s.tell(outcome(c.exit), pending); r != (report{}) || !pending {
		return r
	}
	select {
	case <-s.sentBoth:
	case <-ctx.Done():
		return report{lost: ctx.Err()}
	}
	if cut := c.cutShort(); cut != nil {
		return report{final: cut}
	}
	return report{lost: s.tellEnd(proto.End{})}
}

// endsApart reports whether the client can be told of the process's exit before it is told of the output's end.
func (s *serving) endsApart() bool { return s.peer.Window > 0 && s.peer.Outcome }

// pendingGrace is how long the output may go on after the exit before the client is told of the exit.
const pendingGrace = 50 * time.Millisecond

// tell tells the client how the process exited.
func (s *serving) tell(exit proto.ExitCode, pending bool) report {
	exit.Pending = pending
	if !s.peer.Outcome {
		if exit.Kind != "" {
			// To an older client every exit message means that the process exited. The close frame tells it the truth.
			return report{final: xerrors.Errorf("wait: %w", s.conv.exit)}
		}
		exit.Signal = ""
	}
	return report{lost: s.tellEnd(exit)}
}

func (s *serving) tellEnd(m any) error {
	exit, ok := m.(proto.ExitCode)
	s.reuse.last.Store(!ok || !exit.Pending)
	if err := s.send(m); err != nil {
		return disconnected(xerrors.Errorf("send end: %w", err))
	}
	return nil
}

// askDelay is how long a client has to close the connection before it is asked whether it has read everything.
const askDelay = 100 * time.Millisecond
