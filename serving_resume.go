package wsep

import (
	"context"
	"errors"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// statusTaken is the close code for a connection whose conversation another connection has taken over. It is in the range
// for private use (RFC 6455 section 7.4.2).
const statusTaken = 4001

var (
	errTaken         error = &protocolError{err: xerrors.New("another connection has taken over"), code: statusTaken}
	errLate          error = &resumeError{kind: proto.ResumeTaken, err: xerrors.New("a later connection has asked for it")}
	errLeft                = xerrors.New("client has left")
	errOver                = xerrors.New("the conversation is over")
	errServerClosing error = &protocolError{err: xerrors.New("server is closing"), code: statusGoingAway}
)

// resumeError says why a conversation can't go on.
type resumeError struct {
	kind  string // one of proto's; empty if the other end has not given one
	never bool   // no command was started under the key, and none will be
	err   error
}

func (e *resumeError) Error() string { return "resume: " + e.err.Error() }
func (e *resumeError) Unwrap() error { return e.err }

// resume takes over the conversation that the client's key names, and drives it.
func (s *serving) resume(ctx context.Context, m *proto.Resume) error {
	if s.mayForward() && !s.server.holds(m) {
		if err := s.forwardResume(ctx, m); err != errNotThere {
			return err
		}
	}
	c, err := s.server.findConversation(m, s.opts.Owner)
	if err == nil {
		err = s.takeOver(ctx, c, m.Attempt)
	}
	switch err {
	case nil:
	case errLeft:
		return nil
	case errOver, errForwarded:
		return s.resumeElsewhere(ctx, m)
	default:
		return s.refuseResume(err)
	}
	s.conv = c
	d := newDrive(ctx, s)
	d.resuming = m
	if c.begun == nil { // Else the start goes on, and adopt follows it.
		if ended, err := d.adopt(); ended {
			return d.end(err)
		}
	}
	return d.run()
}

// resumeElsewhere takes up a conversation that this Server no longer holds. The next hop may hold it.
func (s *serving) resumeElsewhere(ctx context.Context, m *proto.Resume) error {
	if s.mayForward() {
		if err := s.forwardResume(ctx, m); err != errNotThere {
			return err
		}
	}
	_, err := s.server.findConversation(m, s.opts.Owner) // It says what is known about the key.
	if err == nil {
		err = &resumeError{kind: proto.ResumeUnknown, err: errNoConversation}
	}
	return s.refuseResume(err)
}

const (
	// takeoverTimeout is how long a new connection waits until the old one has let go.
	takeoverTimeout = 5 * time.Second
	// takeoverPatience is how long the old connection may take before it is closed. A write to a client that is gone would
	// keep it.
	takeoverPatience = time.Second
)

// takeOver makes the other connection let go of the conversation. If the client wants the conversation to end, takeOver ends
// it and returns errLeft.
func (s *serving) takeOver(ctx context.Context, c *conversation, attempt int64) error {
	ctx, cancel := context.WithTimeout(ctx, takeoverTimeout)
	defer cancel()
	impatient := time.AfterFunc(takeoverPatience, func() {
		if l := c.carrier.Load(); l != nil {
			_ = l.conn.CloseNow()
		}
	})
	defer impatient.Stop()
	granted := make(chan bool, 1)
	select {
	case c.takeover <- takeover{attempt, granted}:
		if !<-granted { // This takes fenceGrace at most.
			return errLate
		}
		return nil
	case <-c.forwarded:
		return errForwarded
	case <-c.over:
		return errOver
	case err := <-s.readErr:
		if err := s.connectionEnd(err); err != nil {
			return err
		}
		c.cancel()
		return errLeft
	case <-ctx.Done():
		return &resumeError{kind: proto.ResumeTaken, err: xerrors.Errorf("another connection does not let go: %w", ctx.Err())}
	}
}

// refuseResume tells the client why its conversation can't go on.
func (s *serving) refuseResume(err error) error {
	if resume, ok := errors.AsType[*resumeError](err); ok {
		// If this send fails, the caller's close frame fails too.
		_ = s.send(proto.ResumeError{
			Kind: resume.kind, Message: cutString(resume.err.Error(), maxErrorText), Never: resume.never,
		})
	}
	return err
}

// adopt lets the conversation go on over this connection, from where the client has received it. The client may ask again
// with better offsets.
func (d *drive) adopt() (ended bool, err error) {
	c := d.conv
	if c.failed != nil {
		return true, d.refuse(c.failed)
	}
	if err := c.rewind(d.resuming); err != nil {
		return d.dismiss(d.refuseResume(err))
	}
	answer := proto.Resumed{
		Pid: c.process.Pid(), Session: d.session(), Stdin: c.stdin.Received(), Seq: c.requests.lastTaken(),
		Extensions: d.accept(), Server: d.nextMark(),
	}
	d.adopted.Store(true) // The client may send once it has the answer.
	if err := d.send(answer); err != nil {
		return d.connectionLost(disconnected(xerrors.Errorf("send resumed: %w", err)))
	}
	d.attach()
	return false, nil
}
