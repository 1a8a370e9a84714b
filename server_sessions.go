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

// sessionKey is what a session is found by. Each owner's IDs are the owner's own.
type sessionKey struct{ owner, id string }

// registered is a session in a Server, whose lock guards what follows.
type registered struct {
	*Session
	key     sessionKey
	viewers int  // clients whose attaching process has not ended, or has not started yet
	gone    bool // the session is done, and counts no longer
}

// places is how many processes a session counts as: one until it is done, which its first client shares, and one for each
// further client.
func (r *registered) places() int {
	if r.gone {
		return r.viewers
	}
	return max(1, r.viewers)
}

func (r *registered) info() SessionInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return SessionInfo{
		ID: r.key.id, Owner: r.key.owner, Command: r.command, Started: r.started, Clients: r.clients, State: r.state,
	}
}

// admits refuses a client that would be another user than the one that the session runs as.
func (r *registered) admits(c Command) error {
	if r.command.UID != c.UID || r.command.GID != c.GID {
		return &StartError{xerrors.Errorf("session %q runs as another user: %w", c.ID, fs.ErrPermission)}
	}
	return nil
}

// attachTries bounds how often a client that finds its session closing is given a new one.
const attachTries = 3

// attachSession attaches a client to the session that its command names, which is started if there is none. The client
// counts as long as its attaching process.
func (srv *Server) attachSession(ctx context.Context, execer Execer, c Command, opts *Options) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{err}
	}
	for try := 1; ; try++ {
		s, found, err := srv.enter(ctx, execer, c, opts)
		if err != nil {
			return nil, err
		}
		p, err := s.attach(ctx, c, func() { srv.leave(s) })
		if err != nil && s.done() {
			srv.forget(s) // Before the client's next try.
		}
		if err != nil && found && s.over() && try < attachTries && ctx.Err() == nil {
			continue
		}
		return p, err
	}
}

// enter counts a client of the session that a command names, which is started if there is none, and returns the session
// and whether it was there before. It waits a moment for a place that is about to become free: one of a session that is
// closing, or that of a client that may have gone only to return.
func (srv *Server) enter(ctx context.Context, execer Execer, c Command, opts *Options) (*registered, bool, error) {
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

// leave counts a client no longer.
func (srv *Server) leave(s *registered) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.recount(s, func() { s.viewers-- })
	srv.wake() // The session's own place may be free.
}

// recount counts a session anew that changes. The lock is held.
func (srv *Server) recount(s *registered, change func()) {
	before := s.places()
	change()
	srv.count(s.places() - before)
}

// living returns a session, unless it has begun to close. The lock is held.
func (srv *Server) living(key sessionKey) (s *registered, ok bool) {
	s, ok = srv.sessions[key]
	return s, ok && !s.over()
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
	// Ends with the session.
	go func() {
		_, _ = s.WaitForState(StateDone)
		srv.forget(s)
	}()
	return s
}

// forget removes a session that is done, the first time that it is called.
func (srv *Server) forget(s *registered) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.recount(s, func() { s.gone = true })
	delete(srv.all, s)
	if srv.sessions[s.key] == s {
		delete(srv.sessions, s.key)
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

// Sessions returns the sessions of all owners, the oldest first.
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

// CloseSession closes the owner's session with the ID, as Session.Close does, and reports whether there was one.
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
