package wsep

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// SessionInfo describes a session of a [Server] at one moment.
type SessionInfo struct {
	// ID is the session's name, which clients attach by.
	ID string
	// Owner is the owner of the session: [Options.Owner] when it started.
	Owner string
	// Command is the command that was started.
	Command Command
	// Started is the time of the start.
	Started time.Time
	// Clients is how many clients are attached.
	Clients int
	// State is the state of the session.
	State State
	// Exited says that the command has exited, and Exit how: nil, or the error that Wait of a client returns. The session of a
	// command with [Command.Keep] may be ready then.
	Exited bool
	Exit   error
	// Stdout and Stderr are how many bytes a command with [Command.Keep] has written.
	Stdout, Stderr int64
	// LastLine is the last line on the command's screen. A command with [Command.Keep] has no screen: then it is the last line that the
	// command has written, in its last KiB. Blank lines do not count. LastLine is empty for a session in GNU screen, which does not
	// tell. It comes from the command, so print it with care.
	LastLine string
}

// sessionKey identifies a session in a Server. Each owner has IDs of its own.
type sessionKey struct{ owner, id string }

// registered is a session in a Server. The Server's lock guards the fields.
type registered struct {
	*Session
	key       sessionKey
	viewers   int  // clients whose attaching process has not exited, or has not started yet
	forgotten bool // the session is done, and no longer counts
}

// places returns how many processes the session counts as: one until it is done, which includes the first client, and one
// for each further client.
func (r *registered) places() int {
	if r.forgotten {
		return r.viewers
	}
	return max(1, r.viewers)
}

func (r *registered) info() SessionInfo {
	r.mu.Lock()
	host := r.host
	info := SessionInfo{
		ID: r.key.id, Owner: r.key.owner, Command: r.command, Started: r.started, Clients: r.clients, State: r.state,
	}
	r.mu.Unlock()
	if host != nil {
		host.describe(&info)
	}
	return info
}

// admits returns an error if the client's command would run as another user than the session, or needs a session of another
// kind.
func (r *registered) admits(c Command) error {
	if c.Command != "" && c.isKept() != r.command.isKept() {
		return &StartError{xerrors.Errorf("session %q has a terminal, or has none, unlike the command: %w", c.ID, ErrInvalidCommand)}
	}
	if r.command.UID != c.UID || r.command.GID != c.GID {
		return &StartError{xerrors.Errorf("session %q runs as another user: %w", c.ID, fs.ErrPermission)}
	}
	return nil
}

// attachTries bounds how often a client whose session is closing gets a new one.
const attachTries = 3

// attachSession attaches a client to the session that its command names. If there is no such session it starts one. The
// client counts until its attaching process exits. A command without a program starts no session.
func (srv *Server) attachSession(ctx context.Context, execer Execer, c Command, opts *Options) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{err}
	}
	for try := 1; ; try++ {
		s, found, err := srv.addClient(ctx, execer, c, opts)
		if err != nil {
			return nil, err
		}
		p, err := s.attach(ctx, c, func() { srv.removeClient(s) })
		if err == nil {
			return &attachedProcess{p, s.Session, found}, nil
		}
		if s.isDone() {
			srv.forget(s) // Before the client's next try.
		}
		if found && s.isClosing() && try < attachTries && ctx.Err() == nil {
			continue
		}
		return nil, err
	}
}

// attachedProcess is a process that shows a Server's session to a client.
type attachedProcess struct {
	Process
	session *Session
	found   bool // the session was there
}

// Unwrap returns the process of the session's own.
func (p *attachedProcess) Unwrap() Process { return p.Process }

// keptFor implements keptProcess.
func (p *attachedProcess) keptFor() int64 { return int64(math.Ceil(p.session.keptFor().Seconds())) }

// Session implements [Sessioner].
func (p *attachedProcess) Session() SessionOrigin {
	if p.found {
		return SessionFound
	}
	return SessionCreated
}

// addClient counts a client for the session that its command names. If there is no such session it starts one. It returns the
// session, and whether there was one. addClient waits a moment for a place that may soon be free: the place of a session that is
// closing, or of a client that detaches before it attaches again.
func (srv *Server) addClient(ctx context.Context, execer Execer, c Command, opts *Options) (*registered, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, vacateTimeout)
	defer cancel()
	key := sessionKey{opts.Owner, c.ID}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for {
		s, found := srv.living(key)
		if found {
			if err := s.admits(c); err != nil {
				return nil, true, err
			}
		}
		if !found && c.Command == "" {
			return nil, false, &StartError{noSession(c.ID)}
		}
		if free := found && s.viewers == 0; free || !srv.full(opts) {
			if !found {
				s = srv.newSession(execer, c, opts, key)
			}
			srv.recount(s, func() { s.viewers++ })
			return s, found, nil
		}
		if !(found || srv.anyCloses()) || !srv.awaitVacated(ctx) {
			return nil, found, &StartError{srv.busy()}
		}
	}
}

// removeClient stops counting a client.
func (srv *Server) removeClient(s *registered) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.recount(s, func() { s.viewers-- })
	srv.wake() // The session's own place may be free.
}

// recount makes a change to a session, and counts the session's processes anew. The lock is held.
func (srv *Server) recount(s *registered, change func()) {
	before := s.places()
	change()
	srv.count(s.places() - before)
}

// living returns a session unless it has begun to close. The lock is held.
func (srv *Server) living(key sessionKey) (s *registered, ok bool) {
	s, ok = srv.sessions[key]
	return s, ok && !s.isClosing()
}

// newSession starts a session and counts it. The lock is held.
func (srv *Server) newSession(execer Execer, c Command, opts *Options, key sessionKey) *registered {
	s := &registered{Session: NewSession(&c, execer, opts), key: key}
	if srv.sessions == nil {
		srv.sessions = make(map[sessionKey]*registered)
		srv.all = make(map[*registered]struct{})
	}
	srv.sessions[key] = s
	srv.all[s] = struct{}{}
	srv.count(s.places())
	// Ends when the session is done.
	go func() {
		_, _ = s.WaitForState(StateDone)
		srv.forget(s)
	}()
	return s
}

// forget removes a session that is done. Later calls do nothing.
func (srv *Server) forget(s *registered) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.recount(s, func() { s.forgotten = true })
	delete(srv.all, s)
	if srv.sessions[s.key] == s {
		delete(srv.sessions, s.key)
		srv.ended.add(s.key, s.result)
	}
}

// anyCloses reports whether any session has begun to close and is not done. The lock is held.
func (srv *Server) anyCloses() bool {
	for s := range srv.all {
		if s.isClosing() {
			return true
		}
	}
	return false
}

// Sessions returns the sessions of all owners, oldest first.
func (srv *Server) Sessions() []SessionInfo {
	srv.mu.Lock()
	sessions := slices.Collect(maps.Values(srv.sessions))
	srv.mu.Unlock()
	infos := make([]SessionInfo, 0, len(sessions))
	for _, s := range sessions {
		infos = append(infos, s.info())
	}
	slices.SortFunc(infos, func(a, b SessionInfo) int { return a.Started.Compare(b.Started) })
	return infos
}

// CloseSession closes the owner's session with this ID, as [Session.Close] does. It reports whether there was one.
func (srv *Server) CloseSession(owner, id, reason string) bool {
	srv.mu.Lock()
	s, ok := srv.sessions[sessionKey{owner, id}]
	srv.mu.Unlock()
	if ok {
		s.Close(reason)
		srv.forget(s)
	}
	return ok
}

// SessionCount returns the number of sessions.
func (srv *Server) SessionCount() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.sessions)
}

// Close ends all processes that wait for a client whose connection is lost: see [Options.ResumeTimeout]. It closes idle
// connections, and all
// sessions at the same time and waits until they are done. This takes some seconds, or up to a minute if their machine does
// not answer. The sessions' clients are told that the server is closing. The Server can be used again after that.
func (srv *Server) Close() {
	srv.endDetached()
	srv.CloseIdleConnections()
	srv.mu.Lock()
	sessions := slices.Collect(maps.Keys(srv.all))
	srv.mu.Unlock()
	var closing sync.WaitGroup
	for _, s := range sessions {
		closing.Go(func() {
			s.Close("server is closing")
			srv.forget(s)
		})
	}
	closing.Wait()
}

// ownedID returns the ID under which a peer keeps an owner's session. To the peer all clients of this server are one, so the
// ID must tell their owners apart. It stays the same when this server restarts. An ID without owner stays unchanged, unless
// it looks like one with an owner.
func ownedID(owner, id string) string {
	if owner == "" && !ownedIDPattern.MatchString(id) {
		return id
	}
	return ownedPrefix(owner) + id
}

func ownedPrefix(owner string) string { return fmt.Sprintf("%d:%s:", len(owner), owner) }

// disowned returns the ID that ownedID made the peer's ID of, if it is one of the owner's.
func disowned(owner, id string) (string, bool) {
	if owner == "" && !ownedIDPattern.MatchString(id) {
		return id, true
	}
	return strings.CutPrefix(id, ownedPrefix(owner))
}

var ownedIDPattern = regexp.MustCompile(`^[0-9]+:`)
