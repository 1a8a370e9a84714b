package wsep

import (
	"context"
	"slices"
	"strconv"
	"time"
)

// SessionsOf returns what tells about an owner's sessions, and ends them: those that this Server keeps for clients of the
// Execer, or those of the peer that keeps them, if the Execer has one. The Execer is what the Server serves.
func (srv *Server) SessionsOf(execer Execer, owner string) SessionManager {
	if !keepsSessions(execer) {
		return ownSessions{srv, owner}
	}
	if peer, ok := execerAs[SessionManager](execer); ok {
		return peerSessions{peer, owner}
	}
	return noManager{}
}

// ownSessions are an owner's sessions in a Server.
type ownSessions struct {
	server *Server
	owner  string
}

// Sessions implements SessionManager.
func (o ownSessions) Sessions(context.Context) ([]SessionInfo, error) {
	var owned []SessionInfo
	for _, info := range o.server.Sessions() {
		if info.Owner == o.owner {
			info.Owner = ""
			info.Command = Command{
				ID: info.ID, Command: info.Command.Command, Args: info.Command.Args, TTY: info.Command.TTY,
				WorkingDir: info.Command.WorkingDir,
			}
			owned = append(owned, info)
		}
	}
	return owned, nil
}

// WaitSession implements SessionManager.
func (o ownSessions) WaitSession(ctx context.Context, id string) error {
	s, err := o.find(id)
	if s == nil {
		return err
	}
	return s.waitCommand(ctx)
}

// CloseSession implements SessionManager.
func (o ownSessions) CloseSession(_ context.Context, id, reason string) error {
	if !o.server.CloseSession(o.owner, id, reason) {
		return noSession(id)
	}
	return nil
}

// SignalSession implements SessionManager.
func (o ownSessions) SignalSession(ctx context.Context, id, signal string) error {
	o.server.mu.Lock()
	s := o.server.sessions[sessionKey{o.owner, id}]
	o.server.mu.Unlock()
	if s == nil {
		return noSession(id)
	}
	return s.signal(ctx, signal)
}

// find returns a session, or how a session has ended that is remembered.
func (o ownSessions) find(id string) (*registered, error) {
	o.server.mu.Lock()
	defer o.server.mu.Unlock()
	key := sessionKey{o.owner, id}
	if s := o.server.sessions[key]; s != nil {
		return s, nil
	}
	if ended := o.server.ended.find(key); ended != nil {
		return nil, ended.result
	}
	return nil, noSession(id)
}

// peerSessions are an owner's sessions at a peer.
type peerSessions struct {
	peer  SessionManager
	owner string
}

// Sessions implements SessionManager.
func (p peerSessions) Sessions(ctx context.Context) ([]SessionInfo, error) {
	all, err := p.peer.Sessions(ctx)
	var owned []SessionInfo
	for _, info := range all {
		if id, ok := disowned(p.owner, info.ID); ok {
			info.ID, info.Command.ID = id, id
			owned = append(owned, info)
		}
	}
	return owned, err
}

// WaitSession implements SessionManager.
func (p peerSessions) WaitSession(ctx context.Context, id string) error {
	return p.peer.WaitSession(ctx, ownedID(p.owner, id))
}

// CloseSession implements SessionManager.
func (p peerSessions) CloseSession(ctx context.Context, id, reason string) error {
	return p.peer.CloseSession(ctx, ownedID(p.owner, id), reason)
}

// SignalSession implements SessionManager.
func (p peerSessions) SignalSession(ctx context.Context, id, signal string) error {
	return p.peer.SignalSession(ctx, ownedID(p.owner, id), signal)
}

// noManager stands for a peer that keeps sessions, and can't be asked.
type noManager struct{}

func (noManager) Sessions(context.Context) ([]SessionInfo, error)           { return nil, errNoAnswers }
func (noManager) WaitSession(context.Context, string) error                 { return errNoAnswers }
func (noManager) CloseSession(context.Context, string, string) error        { return errNoAnswers }
func (noManager) SignalSession(_ context.Context, _ string, _ string) error { return errNoAnswers }

// unansweredError says why a question about sessions has no answer.
type unansweredError struct{ reason error }

func (e *unansweredError) Error() string { return e.reason.Error() }
func (e *unansweredError) Unwrap() error { return e.reason }

// unanswered returns an error of one of the kinds of the wire.
func unanswered(kind, message string) error {
	return &unansweredError{&remoteError{kind: kind, message: message}}
}

func noSession(id string) error {
	return unanswered("not_exist", "there is no session "+strconv.Quote(id))
}

// errNoAnswers says that a peer answers no questions about sessions.
var errNoAnswers = unanswered("unsupported", "the server is of a version that tells nothing about its sessions")

// endedSessions remembers for a while how sessions have ended, the oldest first. The Server's lock guards it.
type endedSessions []endedSession

type endedSession struct {
	key    sessionKey
	result error
	when   time.Time
}

const (
	// sessionMemory is how long it is remembered how a session has ended.
	sessionMemory = time.Minute
	// maxEndedSessions bounds how many are remembered.
	maxEndedSessions = 1024
)

// add remembers a session, in the place of an earlier one with the same key.
func (e *endedSessions) add(key sessionKey, result error) {
	now := time.Now()
	*e = slices.DeleteFunc(*e, func(s endedSession) bool { return s.key == key || now.Sub(s.when) > sessionMemory })
	if len(*e) >= maxEndedSessions {
		*e = slices.Delete(*e, 0, 1)
	}
	*e = append(*e, endedSession{key, result, now})
}

// find returns a session that is remembered, or nil.
func (e endedSessions) find(key sessionKey) *endedSession {
	i := slices.IndexFunc(e, func(s endedSession) bool { return s.key == key && time.Since(s.when) <= sessionMemory })
	if i < 0 {
		return nil
	}
	return &e[i]
}
