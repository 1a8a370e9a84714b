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
	freed func() // called without the lock when a command has left its place; nil for nothing

	mu       sync.Mutex             // guards what follows
	live     map[*channel]time.Time // those that are open, and since when they are ending
	commands int                    // how many of those are commands'
	places   int                    // how many commands have a place
	limit    int                    // how many commands the host allows at once, as far as known
	closes   int                    // how many sessions have been closed here, as an answer or of our own
	unsent   int                    // how many are just being closed here
	settled  int                    // how many of closes the host has certainly done with
	closing  chan struct{}          // closed, and replaced, when a session has been closed here, and when it is at both ends
}

// newSessions expects that the host allows as many commands at once.
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

// place is a command's among the sessions of its connection. It is free when all its users have left: the start of the
// command, and each session that this has opened.
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

// reserve is take where the host allows one more command, as far as known. Else it returns nil.
func (s *sessions) reserve() *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places >= s.limit {
		return nil
	}
	s.places++
	return &place{s, 1}
}

// leave is for a user who needs the place no longer.
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

// open opens a session, for the command that has the place or, without one, for the warden. Where the host allows no
// more it waits for those that are ending.
func (s *sessions) open(ctx context.Context, at *place) (*channel, error) {
	for {
		if s.dropbear {
			s.awaitDropped(ctx)
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

// ends notes that a session is about to be closed.
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

// beginClose notes that a session is about to be closed here.
func (s *sessions) beginClose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent++
}

// closedHere notes that this has been done. The host has perhaps not answered yet.
func (s *sessions) closedHere(ch *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent--
	s.count(ch)
}

// count counts a session that has been closed here. The lock is held.
func (s *sessions) count(ch *channel) {
	if !ch.counted {
		ch.counted = true
		s.closes++
	}
	close(s.closing)
	s.closing = make(chan struct{})
}

// refusal returns what Start returns when the host opens no session.
func (s *sessions) refusal(err error) error {
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	if !ok {
		return &unopenedError{lost(xerrors.Errorf("open session: %w", err))}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &wsep.StartError{Err: &refusedError{refused, s.closes+len(s.live) > 0}}
}

// closeGrace is how long a session that is ending is waited for. Who holds its output may keep it open for longer.
const closeGrace = 2 * time.Second

// awaitClose waits for a session that is ending, until the host counts it no more. It returns false if there is none.
func (s *sessions) awaitClose(ctx context.Context) bool {
	for {
		closes, closing, settled := s.closed()
		if !settled {
			return s.settle(closes)
		}
		if !waitClose(ctx, closing, s.ending()) {
			return false
		}
	}
}

// waitClose waits until a session is closed, and returns false if there is nothing to wait for.
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

// closed returns how many sessions have been closed, what is closed with the next one, and whether the host counts none
// of them.
func (s *sessions) closed() (closes int, closing <-chan struct{}, settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closes, s.closing, s.closes == s.settled
}

// awaitDropped waits until the host has closed the sessions that were dropped: until then dropbear takes the end of such a
// session's process for that of the next session's.
func (s *sessions) awaitDropped(ctx context.Context) {
	dropped := func(ch *channel) bool { return isClosed(ch.dropped) }
	for begun := time.Now(); time.Since(begun) < closeGrace; {
		_, closing, _ := s.closed()
		if wait := s.patience(dropped); wait <= 0 || !waitClose(ctx, closing, wait) {
			return
		}
	}
}

// ending returns how long sessions that are ending are to be waited for.
func (s *sessions) ending() time.Duration { return s.patience(func(*channel) bool { return true }) }

// patience returns how long those of the sessions that are ending are to be waited for that matter.
func (s *sessions) patience(matters func(*channel) bool) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch, since := range s.live {
		if !since.IsZero() && matters(ch) {
			wait = max(wait, closeGrace-time.Since(since))
		}
	}
	return wait
}

// settle waits until the host has done with as many closed sessions, which it has when it answers what was sent after
// it was told of them.
func (s *sessions) settle(closes int) bool {
	_, _, err := s.client.SendRequest(keepAlive, true, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = max(s.settled, closes)
	return err == nil
}

// settleAll waits until the host has done with all closed sessions. What dropbear is told to run at the same moment may
// get a descriptor that it still takes for one of theirs, and then it ends the session or the connection.
func (s *sessions) settleAll() {
	for {
		s.mu.Lock()
		closes, closing, unsent, settled := s.closes, s.closing, s.unsent > 0, s.closes == s.settled
		s.mu.Unlock()
		switch {
		case unsent:
			<-closing
		case settled, !s.settle(closes):
			return
		}
	}
}

// full returns the error of a host that allows no more sessions, and learns how many commands it does allow. Where
// several start at once it is not known yet which of them have a session.
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

// room returns how many commands the host allows at once, as far as known, and whether none has a place.
func (s *sessions) room() (limit int, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit, s.places == 0
}
