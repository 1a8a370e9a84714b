package wsep

import (
	"context"
	"errors"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// How a server answers questions about sessions. A connection with a question has no conversation.

// answer answers a question. It returns what Serve returns.
func (s *serving) answer(ctx context.Context, ask *proto.Ask) error {
	answering, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.opts.KeepAlive > 0 {
		s.keepAlive(answering, s.opts.KeepAlive, false, 0, s.lose)
	}
	if err := s.send(proto.Asked{}); err != nil {
		return disconnected(xerrors.Errorf("send asked: %w", err))
	}
	answered := make(chan error, 1)
	// Ends when the question is answered, or soon after the context has ended.
	go func() { answered <- s.tellAnswer(answering, ask) }()
	if ended, err := s.await(ctx, answered); ended || err != nil {
		return err
	}
	return s.awaitClose(ctx)
}

// awaitClose waits until the client, which was sent everything, closes the connection.
func (s *serving) awaitClose(ctx context.Context) error {
	t := time.NewTimer(closeGrace)
	defer t.Stop()
	select {
	case err := <-s.readErr:
		if _, broken := errors.AsType[*protocolError](err); broken {
			return err
		}
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}

// await waits for an answer to be sent. It reports whether the connection has ended before.
func (s *serving) await(ctx context.Context, answered <-chan error) (ended bool, err error) {
	select {
	case err := <-answered:
		return false, err
	case err := <-s.readErr:
		return true, s.connectionEnd(err)
	case err := <-s.lost:
		return true, disconnected(err)
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// tellAnswer finds the answer to a question and sends it.
func (s *serving) tellAnswer(ctx context.Context, ask *proto.Ask) error {
	sessions := s.server.SessionsOf(s.execer, s.opts.Owner)
	var answers []any
	var err error
	switch ask.Question {
	case proto.AskList:
		answers, err = listOf(sessions.Sessions(ctx))
	case proto.AskWait:
		answers, err = waitFor(ctx, sessions, ask.ID)
	case proto.AskClose:
		answers, err = []any{proto.End{}}, sessions.CloseSession(ctx, ask.ID, cutString(ask.Reason, maxErrorText))
	case proto.AskSignal:
		answers, err = []any{proto.End{}}, sessions.SignalSession(ctx, ask.ID, ask.Signal)
	default:
		err = xerrors.Errorf("question %q: %w", ask.Question, errors.ErrUnsupported)
	}
	if err != nil {
		answers = []any{proto.AskError{Kind: kindOf(err), Message: cutString(err.Error(), maxErrorText)}}
	}
	for _, m := range answers {
		if err := s.send(m); err != nil {
			return disconnected(xerrors.Errorf("send answer: %w", err))
		}
	}
	return nil
}

// waitFor waits until a session is done. How its command ended is the answer, also if that is an error.
func waitFor(ctx context.Context, sessions SessionManager, id string) ([]any, error) {
	result := sessions.WaitSession(ctx, id)
	if _, none := errors.AsType[*unansweredError](result); none {
		return nil, result
	}
	return []any{outcome(result)}, nil
}

// listOf returns the messages with a list.
func listOf(infos []SessionInfo, err error) ([]any, error) {
	if err != nil {
		return nil, err
	}
	parts := []proto.Sessions{{Sessions: []proto.SessionItem{}}}
	size := 0
	for _, info := range infos {
		session := describeSession(info)
		bytes := encodedSize(session)
		if bytes > maxList {
			continue // Its ID is too long. A peer could not take it.
		}
		if size += bytes; size > maxList {
			parts[len(parts)-1].More = true
			parts, size = append(parts, proto.Sessions{}), bytes
		}
		last := &parts[len(parts)-1]
		last.Sessions = append(last.Sessions, session)
	}
	messages := make([]any, len(parts))
	for i, part := range parts {
		messages[i] = part
	}
	return messages, nil
}

const (
	// maxList bounds the sessions in a message, in bytes. The message is then within what every peer takes.
	maxList = proto.MaxMessage - 100
	// maxListed bounds each text of a session in a list, in bytes: the working directory, the last line, and the command with
	// its arguments.
	maxListed = 1 << 10
)

// encodedSize returns how many bytes a session takes in a message.
func encodedSize(s proto.SessionItem) int {
	msg, err := proto.Encode(proto.Sessions{Sessions: []proto.SessionItem{s}})
	if err != nil {
		return maxList + 1
	}
	return len(msg)
}

// describeSession returns what a list says of a session.
func describeSession(info SessionInfo) proto.SessionItem {
	s := proto.SessionItem{
		ID:         info.ID,
		Command:    cutString(info.Command.Command, maxListed),
		Args:       []string{},
		TTY:        info.Command.TTY,
		WorkingDir: cutString(info.Command.WorkingDir, maxListed),
		Age:        max(0, time.Since(info.Started).Microseconds()),
		Clients:    int64(info.Clients),
		State:      stateNames[info.State],
		LastLine:   cutString(info.LastLine, maxListed),
		Stdout:     info.Stdout,
		Stderr:     info.Stderr,
	}
	if info.Exited && info.State == StateReady {
		exit := outcome(info.Exit)
		s.State = proto.SessionExited
		s.Exit = &proto.Exit{
			ExitCode: exit.ExitCode, Error: cutString(exit.Error, maxListed), Signal: exit.Signal, Kind: exit.Kind,
		}
	}
	room := maxListed - len(s.Command)
	for _, arg := range info.Command.Args {
		if room <= 0 {
			break
		}
		cut := cutString(arg, room)
		s.Args = append(s.Args, cut)
		room -= len(cut) + 1 // An empty argument takes room too.
	}
	return s
}

// stateNames are the states' names on the wire. A session that is done is in no list.
var stateNames = map[State]string{
	StateStarting: proto.SessionStarting,
	StateReady:    proto.SessionRunning,
	StateClosing:  proto.SessionClosing,
	StateDone:     proto.SessionClosing,
}
