package wsep

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// SessionInfo describes a session of a Server.
type SessionInfo struct {
	// ID is what clients call the session.
	ID string
	// Owner is whose it is: Options.Owner at its start.
	Owner string
	// Command is what was started.
	Command Command
	// Started is when.
	Started time.Time
	// Clients is how many are attached.
	Clients int
	// State is where the session is in its life.
	State State
}

// registered is a session in a Server.
type registered struct {
	*Session
	owner string
}

func (r registered) info() SessionInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return SessionInfo{
		ID: r.command.ID, Owner: r.owner, Command: r.command, Started: r.started, Clients: r.clients, State: r.state,
	}
}

// admits reports whether a client may attach: the session's owner, as the user that the session runs as.
func (r registered) admits(owner string, c Command) error {
	if r.owner != owner || r.command.UID != c.UID || r.command.GID != c.GID {
		return &StartError{xerrors.Errorf("session %q belongs to another: %w", c.ID, fs.ErrPermission)}
	}
	return nil
}

// attachTries bounds how often a client that finds its session closing is given a new one.
const attachTries = 3

// attachSession attaches a client to the session that its command names, which is started if there is none.
func (srv *Server) attachSession(ctx context.Context, execer Execer, c Command, opts *Options) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{err}
	}
	for try := 1; ; try++ {
		s, found, err := srv.session(ctx, execer, c, opts)
		if err != nil {
			return nil, err
		}
		p, err := s.attach(ctx, c)
		if err != nil && s.done() {
			srv.forget(s) // Before the client's next try.
		}
		if err != nil && found && s.over() && try < attachTries && ctx.Err() == nil {
			continue
		}
		return p, err
	}
}

// session returns the session that a command names, and whether it was there before.
func (srv *Server) session(ctx context.Context, execer Execer, c Command, opts *Options) (s registered, found bool, err error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if s, found = srv.living(c.ID); found {
		return s, true, s.admits(opts.Owner, c)
	}
	err = srv.acquire(ctx, opts.MaxProcesses)
	if s, found = srv.living(c.ID); found {
		// Another client was faster.
		if err == nil {
			srv.vacate()
		}
		return s, true, s.admits(opts.Owner, c)
	}
	if err != nil {
		return s, false, &StartError{err}
	}
	return srv.newSession(execer, c, opts), false, nil
}

// living returns the session with the ID, unless it has begun to close. The lock is held.
func (srv *Server) living(id string) (s registered, ok bool) {
	s, ok = srv.sessions[id]
	return s, ok && !s.over()
}

// newSession starts a session, which has been counted. The lock is held.
func (srv *Server) newSession(execer Execer, c Command, opts *Options) registered {
	s := registered{NewSession(&c, execer, opts), opts.Owner}
	if srv.sessions == nil {
		srv.sessions = make(map[string]registered)
		srv.all = make(map[*Session]registered)
	}
	srv.sessions[c.ID] = s
	srv.all[s.Session] = s
	// Ends with the session.
	go func() {
		_, _ = s.WaitForState(StateDone)
		srv.forget(s)
	}()
	return s
}

// forget removes a session that is done, the first time that it is called.
func (srv *Server) forget(s registered) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if _, ok := srv.all[s.Session]; !ok {
		return
	}
	srv.vacate()
	delete(srv.all, s.Session)
	if srv.sessions[s.command.ID] == s {
		delete(srv.sessions, s.command.ID)
	}
}

// anyCloses reports whether a session has begun to close and is not done. The lock is held.
func (srv *Server) anyCloses() bool {
	for s := range srv.all {
		if s.over() {
			return true
		}
	}
	return false
}

// Sessions returns the sessions, the oldest first.
func (srv *Server) Sessions() []SessionInfo {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	infos := make([]SessionInfo, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		infos = append(infos, s.info())
	}
	slices.SortFunc(infos, func(a, b SessionInfo) int { return a.Started.Compare(b.Started) })
	return infos
}

// CloseSession closes the session with the ID, as Session.Close does, and reports whether there was one. It is up to the
// caller to see whether its client owns the session.
func (srv *Server) CloseSession(id, reason string) bool {
	srv.mu.Lock()
	s, ok := srv.sessions[id]
	srv.mu.Unlock()
	if ok {
		s.Close(reason)
		srv.forget(s)
	}
	return ok
}

// SessionCount returns how many sessions there are.
func (srv *Server) SessionCount() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.sessions)
}

// Close closes all sessions at the same time and waits until nothing is left of them, which takes some seconds, or up to a
// minute if their machine does not answer. Their clients are told that the server is closing. A Server that is closed can
// be used again.
func (srv *Server) Close() {
	srv.mu.Lock()
	sessions := slices.Collect(maps.Values(srv.all))
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

// sessionKeeping is implemented by Execers that hand the ID of a command on to a peer that keeps sessions itself, so that
// the session lives at the far end of a chain.
type sessionKeeping interface{ keepsSessions() }

func (*remoteExecer) keepsSessions() {}
func (Dialer) keepsSessions()        {}

// ownedID returns the ID under which a peer keeps an owner's session. All of a server's clients are one to its peer, so
// the ID has to tell their owners apart. It is the same after a restart. An ID without owner stays as it is, unless it
// looks like one with an owner.
func ownedID(owner, id string) string {
	if owner == "" && !ownedIDPattern.MatchString(id) {
		return id
	}
	return fmt.Sprintf("%d:%s:%s", len(owner), owner, id)
}

var ownedIDPattern = regexp.MustCompile(`^[0-9]+:`)
