package wsep

import (
	"context"

	"cdr.dev/wsep/internal/proto"
)

// What an Execer or a Process may do beside its interface. A type that wraps another one keeps these by a method Unwrap.

// SessionKeeper is an [Execer] that knows whether it hands the ID of a command on to a peer that keeps sessions itself. If
// it does, a [Server] leaves the session to that peer. The session then lives at the far end of a chain. [Dialer] and
// [RemoteExecer] do so.
//
// A type that wraps an Execer has a method Unwrap() Execer that returns it. A Server then asks the wrapped Execer. It
// starts commands through the wrapper all the same, so that the wrapper can change them. Without Unwrap the Server keeps
// the session itself, and runs it through the wrapper: on the far machine, as long as this Server lives.
type SessionKeeper interface {
	// KeepsSessions reports whether the peer keeps the sessions.
	KeepsSessions() bool
}

// SessionManager is an [Execer] that tells about sessions and ends them. [Dialer] is one: it asks its server, about the sessions
// of the owner that the server takes it for. [Server.SessionsOf] returns what does so at a server.
//
// If there is no session with an ID, the error matches [fs.ErrNotExist]. If the peer, or a server behind it, is of a version that
// can't answer, the error matches [errors.ErrUnsupported].
type SessionManager interface {
	// Sessions returns the sessions, oldest first. Owner of each is empty. Command has only the ID, Command, Args, TTY and WorkingDir.
	// A server may cut long texts.
	Sessions(ctx context.Context) ([]SessionInfo, error)
	// WaitSession waits until a session is done, and returns what [Process.Wait] returns of its command. A server remembers a
	// session that is done for a minute.
	WaitSession(ctx context.Context, id string) error
	// CloseSession closes a session as [Session.Close] does, and waits until it is done.
	CloseSession(ctx context.Context, id, reason string) error
	// SignalSession sends a signal to a session's command: see [Signaler].
	SignalSession(ctx context.Context, id, signal string) error
}

// Exiter is a [Process] that tells when it has exited, and whose Wait then returns and loses nothing, though its output has
// not been read. A [Server] tells its client of the exit then. Of another Process it tells when it has read all output:
// Wait of os/exec, for one, closes the pipes.
//
// A type that wraps a Process has a method Unwrap() Process that returns it, so that the Process's Exiter, [Signaler] and
// end are found.
type Exiter interface {
	// Exited returns a channel that is closed when the process has exited.
	Exited() <-chan struct{}
}

// Skipper is a [Process] whose outputs may lack bytes, because it is attached to a command that does not wait for its clients: see
// [Command.Keep].
type Skipper interface {
	// Skipped returns how many bytes of each output are missing. Most often they are the first ones: when the client attached, as
	// many had been written and were no longer kept. The numbers grow when the client reads so slowly that it falls behind what is
	// kept. They have grown before a Read returns a byte after the gap.
	Skipped() (stdout, stderr int64)
}

// skipTeller is a Skipper that tells of each gap.
type skipTeller interface {
	Skipper
	// onSkip makes do called when bytes have been skipped, before a Read returns later ones. It is called once.
	onSkip(do func())
}

// Sessioner is a [Process] that knows where its session comes from. A Process of a peer's is one, and so is one in a session of
// a [Server]. A Server tells its client what the Process says.
type Sessioner interface {
	// Session says whether the start has created the session of its [Command.ID], or has found it. A client that comes back
	// and finds a new session knows that the command it left is gone.
	Session() SessionOrigin
}

// SessionOrigin says where the session of a process comes from.
type SessionOrigin int

const (
	// SessionUnknown says that there is no session, or that a peer of an older version does not tell.
	SessionUnknown SessionOrigin = iota
	// SessionCreated says that the start has created the session.
	SessionCreated
	// SessionFound says that the session was there.
	SessionFound
)

// onWire returns the origin as messages have it.
func (o SessionOrigin) onWire() proto.Session {
	switch o {
	case SessionCreated:
		return proto.SessionCreated
	case SessionFound:
		return proto.SessionFound
	}
	return ""
}

// originOf returns the origin that a message has.
func originOf(s proto.Session) SessionOrigin {
	switch s {
	case proto.SessionCreated:
		return SessionCreated
	case proto.SessionFound:
		return SessionFound
	}
	return SessionUnknown
}

// execerAs returns the Execer, or the first that it wraps, that is a T.
func execerAs[T any](e Execer) (t T, ok bool) {
	for e != nil {
		if t, ok = e.(T); ok {
			return t, true
		}
		wrapper, ok := e.(interface{ Unwrap() Execer })
		if !ok {
			break
		}
		e = wrapper.Unwrap()
	}
	return t, false
}

// processAs returns the Process, or the first that it wraps, that is a T.
func processAs[T any](p Process) (t T, ok bool) {
	for p != nil {
		if t, ok = p.(T); ok {
			return t, true
		}
		wrapper, ok := p.(interface{ Unwrap() Process })
		if !ok {
			break
		}
		p = wrapper.Unwrap()
	}
	return t, false
}

// keepsSessions reports whether the peer behind an Execer keeps sessions.
func keepsSessions(e Execer) bool {
	keeper, ok := execerAs[SessionKeeper](e)
	return ok && keeper.KeepsSessions()
}

type lastingKey struct{}

// WithLasting returns a context for the Start of a command that is to be left alone when its connection is lost. It then
// ends with its context, by Close, or by itself. A [Session] starts its keeper so.
func WithLasting(ctx context.Context) context.Context {
	return context.WithValue(ctx, lastingKey{}, true)
}

// Lasting reports whether the context is one of [WithLasting]. It is for an [Execer] that ends its commands when their
// connection is lost, as package sshexec does. It travels in the context, so that all wrappers pass it on.
func Lasting(ctx context.Context) bool { return ctx.Value(lastingKey{}) != nil }
