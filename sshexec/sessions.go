package sshexec

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// sessions opens the sessions of one connection: one for each command, and one for the warden.
type sessions struct {
	client   *ssh.Client
	dropbear bool // the server is dropbear

	pulse *pulse
	freed func() // if set, called without the lock when a command has left its place

	mu        sync.Mutex             // guards what follows
	live      map[*channel]time.Time // the open sessions, with the time since when each is ending
	commands  int                    // how many of the open sessions belong to commands
	places    int                    // how many commands have a place
	limit     int                    // how many commands the host allows at once, as far as known
	closes    int                    // how many sessions this end has closed, before or after the host
	unsent    int                    // how many sessions this end is closing now
	confirmed int                    // how many of closes the host has certainly processed
	closing   chan struct{}          // closed, and replaced, when a session is closed by this end and when it is by both
}

// newSessions returns the sessions of a connection. limit is how many commands the host is expected to allow at once.
func newSessions(client *ssh.Client, limit int) *sessions {
	return &sessions{
		client:   client,
		pulse:    newPulse(),
		dropbear: isDropbear(client),
		live:     make(map[*channel]time.Time),
		limit:    limit,
		closing:  make(chan struct{}),
	}
}

// place is the place of a command on a connection. Its users are the start of the command, and each session that the
// start has opened. It is free when all of them have left.
type place struct {
	sessions *sessions
	users    int // guarded by the lock of sessions
}

// take takes a place. Its first user is the caller.
func (s *sessions) take() *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places++
	return &place{s, 1}
}

// reserve takes a place if the host allows one more command, as far as known. Otherwise it returns nil.
func (s *sessions) reserve() *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places >= s.limit {
		return nil
	}
	s.places++
	return &place{s, 1}
}

// leave is called by a user that does not need the place any more.
func (p *place) leave() {
	s := p.sessions
	s.mu.Lock()
	p.users--
	free := p.users == 0
	if free {
		s.places--
	}
	s.mu.Unlock()
	if free && s.freed != nil {
		s.freed()
	}
}

// open opens a session for the command at the place. at is nil for the warden. If the host allows no more sessions,
// open waits for those that are ending.
func (s *sessions) open(ctx context.Context, at *place) (*channel, error) {
	for {
		if s.dropbear {
			s.awaitDropped(ctx)
			// It is called again before the command starts, and then returns sooner. A fragile host fails between the two.
			s.confirmAll()
		}
		inner, requests, err := s.client.OpenChannel("session", nil)
		if err == nil {
			return s.add(inner, requests, at), nil
		}
		err = s.refusal(err)
		if !errors.Is(err, wsep.ErrBusy) {
			return nil, err
		}
		if !s.awaitClose(ctx) {
			return nil, s.full(err, at)
		}
	}
}

// add adds a session.
func (s *sessions) add(inner ssh.Channel, requests <-chan *ssh.Request, at *place) *channel {
	ch := newChannel(inner, s, at)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[ch] = time.Time{}
	if at != nil {
		at.users++
		s.commands++
		s.limit = max(s.limit, s.commands)
	}
	// Ends with the session.
	go ch.listen(requests)
	return ch
}

// ends notes that a session will soon be closed.
func (s *sessions) ends(ch *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since, live := s.live[ch]; live && since.IsZero() {
		s.live[ch] = time.Now()
	}
}

// remove removes a session that has been closed.
func (s *sessions) remove(ch *channel) {
	s.mu.Lock()
	delete(s.live, ch)
	s.count(ch)
	if ch.place != nil {
		s.commands--
	}
	s.mu.Unlock()
	if ch.place != nil {
		ch.place.leave()
	}
}

// beginClose notes that this end is closing a session.
func (s *sessions) beginClose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent++
}

// closedHere notes that this end has closed the session. The host may not have answered yet.
func (s *sessions) closedHere(ch *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent--
	s.count(ch)
}

// count counts a session that this end has closed. The lock is held.
func (s *sessions) count(ch *channel) {
	if !ch.counted {
		ch.counted = true
		s.closes++
	}
	close(s.closing)
	s.closing = make(chan struct{})
}

// refusal returns the error of Start when the host opens no session.
func (s *sessions) refusal(err error) error {
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	if !ok {
		return &unopenedError{lost(xerrors.Errorf("open session: %w", err))}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &wsep.StartError{Err: &refusedError{refused, s.closes+len(s.live) > 0}}
}

// closeGrace is how long to wait for a session that is ending. A process that holds its output may keep it open for
// longer.
const closeGrace = 2 * time.Second

// awaitClose waits until a session that is ending is closed and the host does not count it any more. It returns false
// if no session is ending.
func (s *sessions) awaitClose(ctx context.Context) bool {
	for {
		closes, closing, confirmed := s.closed()
		if !confirmed {
			return s.confirm(closes)
		}
		if !waitClose(ctx, closing, s.ending()) {
			return false
		}
	}
}

// waitClose waits until a session is closed. It returns false after the limit or when the context ends.
func waitClose(ctx context.Context, closing <-chan struct{}, limit time.Duration) bool {
	if limit <= 0 {
		return false
	}
	select {
	case <-closing:
		return true
	case <-time.After(limit):
	case <-ctx.Done():
	}
	return false
}

// closed returns how many sessions this end has closed, the channel that is closed with the next one, and whether the
// host has processed all of them.
func (s *sessions) closed() (closes int, closing <-chan struct{}, confirmed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closes, s.closing, s.closes == s.confirmed
}

// awaitDropped waits until the host has closed the sessions that were dropped. Before that, dropbear takes the exit of
// their processes for that of the next session's process.
func (s *sessions) awaitDropped(ctx context.Context) {
	dropped := func(ch *channel) bool { return isClosed(ch.dropped) }
	for begun := time.Now(); time.Since(begun) < closeGrace; {
		_, closing, _ := s.closed()
		if wait := s.maxWait(dropped); wait <= 0 || !waitClose(ctx, closing, wait) {
			return
		}
	}
}

// ending returns how long to wait for the sessions that are ending.
func (s *sessions) ending() time.Duration { return s.maxWait(func(*channel) bool { return true }) }

// maxWait returns how long to wait for the sessions that are ending and matter.
func (s *sessions) maxWait(matters func(*channel) bool) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch, since := range s.live {
		if !since.IsZero() && matters(ch) {
			wait = max(wait, closeGrace-time.Since(since))
		}
	}
	return wait
}

// confirm asks the host for an answer. When it comes, the host has processed at least as many closed sessions as closes
// says.
func (s *sessions) confirm(closes int) bool {
	_, _, err := s.client.SendRequest(keepAlive, true, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed = max(s.confirmed, closes)
	return err == nil
}

// confirmAll waits until the host has processed all closed sessions. dropbear needs this before it runs a command: the
// command may get the number of a descriptor that dropbear still takes for a closed session's, and then it closes the
// new session or the connection.
func (s *sessions) confirmAll() {
	for {
		s.mu.Lock()
		closes, closing, unsent, confirmed := s.closes, s.closing, s.unsent > 0, s.closes == s.confirmed
		s.mu.Unlock()
		switch {
		case unsent:
			<-closing
		case confirmed, !s.confirm(closes):
			return
		}
	}
}

// full returns the error of a host that allows no more sessions. It lowers limit to the number of commands that the
// host allows. While several commands start at once, that number is at least one.
func (s *sessions) full(err error, at *place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.commands
	if at != nil && s.places > 1 {
		known = max(known, 1)
	}
	s.limit = min(s.limit, known)
	if at == nil || s.commands > 0 {
		return err
	}
	refused, _ := errors.AsType[*refusedError](err)
	return &wsep.StartError{Err: xerrors.Errorf("a connection needs two sessions, one to watch over the command: %w", refused)}
}

// room returns how many commands the host allows at once, as far as known. idle reports whether no command has a place.
func (s *sessions) room() (limit int, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit, s.places == 0
}
