package wsep

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// How a client asks about sessions: a connection for each question.

// Sessions implements [SessionManager].
func (d Dialer) Sessions(ctx context.Context) ([]SessionInfo, error) {
	var all []SessionInfo
	_, err := d.ask(ctx, proto.Ask{Question: proto.AskList}, func(msg any) bool {
		part, ok := msg.(proto.Sessions)
		for _, s := range part.Sessions {
			all = append(all, sessionInfo(s))
		}
		return ok && !part.More
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// sessionInfo returns what a list says of a session.
func sessionInfo(s proto.SessionItem) SessionInfo {
	const longest = 1<<63/1000 - 1 // microseconds
	info := SessionInfo{
		ID:       s.ID,
		Command:  Command{ID: s.ID, Command: s.Command, Args: s.Args, TTY: s.TTY, WorkingDir: s.WorkingDir},
		Started:  time.Now().Add(-time.Duration(min(s.Age, longest)) * time.Microsecond),
		Clients:  int(s.Clients),
		LastLine: s.LastLine,
		Stdout:   s.Stdout,
		Stderr:   s.Stderr,
		State:    StateReady,
	}
	if s.Exit != nil {
		info.Exited = true
		info.Exit = outcomeError(proto.ExitCode{
			ExitCode: s.Exit.ExitCode, Error: s.Exit.Error, Signal: s.Exit.Signal, Kind: s.Exit.Kind,
		})
	}
	for state, name := range stateNames {
		if name == s.State && state != StateDone {
			info.State = state
		}
	}
	return info
}

// CloseSession implements [SessionManager].
func (d Dialer) CloseSession(ctx context.Context, id, reason string) error {
	_, err := d.ask(ctx, proto.Ask{Question: proto.AskClose, ID: id, Reason: cutString(reason, maxErrorText)}, isEnd)
	return err
}

// SignalSession implements [SessionManager].
func (d Dialer) SignalSession(ctx context.Context, id, signal string) error {
	if err := checkSignal(signal); err != nil {
		return err
	}
	_, err := d.ask(ctx, proto.Ask{Question: proto.AskSignal, ID: id, Signal: signal}, isEnd)
	return err
}

func isEnd(msg any) bool {
	_, ok := msg.(proto.End)
	return ok
}

// WaitSession implements [SessionManager]. When the connection is lost it asks again over a new one, for as long as
// [Dialer.Resume] says. If another session with this ID has started meanwhile, it waits for that one.
func (d Dialer) WaitSession(ctx context.Context, id string) error {
	result, _, err := d.waitOnce(ctx, id)
	for again := isLoss(err); again; {
		var asked bool
		result, asked, err = d.waitAgain(ctx, id, err)
		again = asked && isLoss(err)
	}
	if err != nil {
		return err
	}
	return result
}

// waitOnce waits over one connection. result is how the session has ended.
func (d Dialer) waitOnce(ctx context.Context, id string) (result error, asked bool, err error) {
	asked, err = d.ask(ctx, proto.Ask{Question: proto.AskWait, ID: id}, func(msg any) bool {
		exit, ok := msg.(proto.ExitCode)
		result = outcomeError(exit)
		return ok
	})
	return result, asked, err
}

// waitAgain makes new connections until the server on one of them takes the question, and waits there.
func (d Dialer) waitAgain(ctx context.Context, id string, lost error) (result error, asked bool, err error) {
	limited, cancel := context.WithTimeout(ctx, d.resumeLimit())
	defer cancel()
	for backoff := minBackoff; sleep(limited, jitter(backoff)); backoff = min(2*backoff, maxBackoff) {
		result, asked, err := d.waitOnce(ctx, id)
		switch {
		case asked && errors.Is(err, fs.ErrNotExist):
			return nil, false, disconnected(xerrors.Errorf("session %q has ended meanwhile", id))
		case asked, err == nil, isFinalAnswer(err):
			return result, asked, err
		}
		lost = err
	}
	return nil, false, lost
}

// ask asks one question. It gives take each message of the answer, until take returns true. asked says that the server takes
// questions.
func (d Dialer) ask(ctx context.Context, question proto.Ask, take func(msg any) bool) (asked bool, err error) {
	if err := d.check(); err != nil {
		return false, &unansweredError{err}
	}
	conn, err := d.connect(ctx)
	if start, ok := errors.AsType[*StartError](err); ok {
		return false, &unansweredError{start.Err}
	}
	if err != nil {
		return false, err
	}
	a := &asking{link: link{conn: conn}, take: take}
	conn.SetReadLimit(defaultMaxMessage)
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseNow() })
	defer stop()
	err = a.converse(ctx, question, d.pinging())
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.CloseNow()
		return a.asked, err
	}
	// Ends within the time that [Conn.Close] gives the peer.
	go func() { _ = conn.Close(statusNormal, "") }()
	return true, nil
}

// asking is a client's end of a connection with a question.
type asking struct {
	link
	take  func(msg any) bool
	asked bool
}

// converse asks the question, and takes the answer.
func (a *asking) converse(ctx context.Context, question proto.Ask, pinging time.Duration) error {
	msg, err := proto.Encode(question)
	if err != nil {
		return &unansweredError{err}
	}
	if len(msg) > proto.MaxMessage {
		return noSession(question.ID) // No peer could have started it.
	}
	if err := a.write(msg); err != nil {
		return disconnected(xerrors.Errorf("send question: %w", err))
	}
	if err := a.awaitAsked(); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	if pinging > 0 {
		a.keepAlive(watching, pinging, false, 0, func(error) { _ = a.conn.CloseNow() })
	}
	for {
		msg, err := a.next()
		if refusal, ok := msg.(proto.AskError); ok {
			err = unanswered(refusal.Kind, refusal.Message)
		}
		if err != nil || a.take(msg) {
			return err
		}
	}
}

// awaitAsked waits until the server says that it takes the question. A server that does not know questions ignores them, and
// closes the connection when no start message has come in time.
func (a *asking) awaitAsked() error {
	var late atomic.Bool
	t := time.AfterFunc(answerTimeout, func() {
		late.Store(true)
		_ = a.conn.CloseNow()
	})
	defer t.Stop()
	for !a.asked {
		msg, err := a.next()
		if code, _, _ := peerClose(err); late.Load() || code == statusPolicy {
			return errNoAnswers
		}
		if err != nil {
			return err
		}
		_, a.asked = msg.(proto.Asked)
	}
	return nil
}

// next returns the next message of a known type.
func (a *asking) next() (any, error) {
	for {
		data, msg, err := a.read(proto.StdoutHeader)
		if _, unknown := errors.AsType[proto.UnknownTypeError](err); unknown {
			continue
		}
		if err == nil && data.body != nil {
			_, err = io.Copy(io.Discard, data.body)
		}
		if err != nil {
			return nil, disconnected(xerrors.Errorf("read answer: %w", err))
		}
		return msg, nil
	}
}
