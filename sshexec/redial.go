package sshexec

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// Redialer is an Execer that makes its connections itself: the first when a command is started, another when one is
// lost, and further ones when the server allows no more sessions on those that there are. Where there are ten already, a
// start waits for a session on one of them for as long as sessions end. A connection that has carried no command for 30
// seconds is closed. It is safe for concurrent use.
//
// A command whose connection is lost is lost with it, and not started again. A session of a wsep.Server goes on: it
// lives on the host, and is found again over the next connection.
//
// A Start matches wsep.ErrBusy where the server allows less than two sessions on a connection that carries nothing.
type Redialer struct {
	dial     func(context.Context) (*ssh.Client, error)
	interval time.Duration // of keep-alives
	idle     time.Duration // how long a connection stays that carries nothing

	dialing chan struct{} // holds a token while dial is called
	room    chan struct{} // holds a token while a start that waits for a place should look for one
	closed  chan struct{} // closed by Close

	mu          sync.Mutex // guards what follows
	connections []*connection
	limit       int       // how many commands the host allows on a connection, as far as known
	freed       time.Time // when a command left its place last
}

// connection is one of a Redialer's connections.
type connection struct {
	*execer
	lost chan struct{} // closed when it is lost
	idle *time.Timer   // closes it; guarded by the lock of the Redialer
}

const (
	// defaultInterval is how long a host may say nothing before it is asked for an answer, and how long it has for that.
	defaultInterval = 15 * time.Second
	// defaultIdle is how long a connection stays that carries nothing.
	defaultIdle = 30 * time.Second
	// fewConnections are made without waiting for sessions to end.
	fewConnections = 10
	// standstill is how long no session must have ended before there are more connections.
	standstill = time.Second
)

// Redial returns a Redialer that connects by dial. The connections belong to the Redialer. dial is called by one
// goroutine at a time, and should give up when its context ends, because nobody else can dial before. The context ends
// with that of the Start that needs the connection, with Close, and when dial has returned. A Start does not wait longer
// for a dial that goes on, and a connection that comes too late is closed.
//
// A host that falls silent is noticed after 30 seconds, and its connection closed. Connect, in dial, has a slow host not be
// taken for a silent one.
func Redial(dial func(context.Context) (*ssh.Client, error)) *Redialer {
	return &Redialer{
		dial:     dial,
		interval: defaultInterval,
		idle:     defaultIdle,
		dialing:  make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		closed:   make(chan struct{}),
		limit:    unlimited,
	}
}

// Start implements wsep.Execer. The error of a connection that could not be made matches wsep.ErrDisconnected.
func (r *Redialer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	for {
		s, err := r.find(ctx)
		if err != nil {
			return nil, err
		}
		p, err := s.conn.begin(ctx, c, s.at)
		if err == nil || !r.elsewhere(s, err) {
			return p, err
		}
	}
}

// elsewhere reports whether a command that did not start may do so over another connection, and surely does not run.
func (r *Redialer) elsewhere(s seat, err error) bool {
	if _, unopened := errors.AsType[*unopenedError](err); unopened {
		r.forget(s.conn)
		return !s.dialed
	}
	if _, refused := errors.AsType[*refusedError](err); !refused || !errors.Is(err, wsep.ErrBusy) {
		return false
	}
	limit, _ := s.conn.sessions.room()
	return !s.dialed || limit > 0
}

// seat is a place for a command.
type seat struct {
	conn   *connection
	at     *place
	dialed bool // the connection was made for it
}

// find waits for a place for a command, on a connection that there is or on one that it makes.
func (r *Redialer) find(ctx context.Context) (seat, error) {
	begun := time.Now()
	for {
		if s, ok := r.reserve(); ok {
			return s, nil
		}
		dialing, later := r.dialing, (<-chan time.Time)(nil)
		if wait := r.reluctance(begun); wait > 0 {
			dialing, later = nil, time.After(wait)
		}
		select {
		case dialing <- struct{}{}:
			// Somebody else may have dialed.
			if s, ok := r.reserve(); ok {
				<-r.dialing
				return s, nil
			}
			if r.reluctance(begun) <= 0 {
				return r.connect(ctx)
			}
			<-r.dialing
		case <-r.room:
		case <-later:
		case <-ctx.Done():
			return seat{}, r.unwanted(ctx)
		case <-r.closed:
			return seat{}, r.unwanted(ctx)
		}
	}
}

// reserve returns a place on a connection that there is.
func (r *Redialer) reserve() (seat, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.connections {
		if at := conn.sessions.reserve(); at != nil {
			if conn.idle != nil {
				conn.idle.Stop()
			}
			r.look() // There may be more.
			return seat{conn: conn, at: at}, true
		}
	}
	return seat{}, false
}

// look has a start that waits for a place look for one.
func (r *Redialer) look() {
	select {
	case r.room <- struct{}{}:
	default:
	}
}

// reluctance returns how much longer a start that has waited for a place since a time should do so before it dials:
// while sessions are ending, and for longer where there are many connections already.
func (r *Redialer) reluctance(begun time.Time) (wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.connections) >= fewConnections {
		since := begun
		if r.freed.After(since) {
			since = r.freed
		}
		return standstill - time.Since(since)
	}
	for _, conn := range r.connections {
		wait = max(wait, conn.sessions.ending())
	}
	return min(wait, closeGrace-time.Since(begun))
}

// vacated is called when a command has left its place on the connection.
func (r *Redialer) vacated(conn *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.freed = time.Now()
	r.look()
	limit, idle := conn.sessions.room()
	switch {
	case !idle || isClosed(conn.lost):
	case limit == 0:
		r.close(conn)
	case conn.idle == nil:
		conn.idle = time.AfterFunc(r.idle, func() { r.expire(conn) })
	default:
		conn.idle.Reset(r.idle)
	}
}

// expire closes a connection that carries nothing.
func (r *Redialer) expire(conn *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, idle := conn.sessions.room(); idle {
		r.close(conn)
	}
}

// forget has no more commands start over a connection that is lost.
func (r *Redialer) forget(conn *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close(conn)
}

// learn finds out how many commands the host allows on a connection. The lock is held.
func (r *Redialer) learn() {
	known := 0
	for _, conn := range r.connections {
		if limit, _ := conn.sessions.room(); limit != unlimited {
			known = max(known, limit)
		}
	}
	if known > 0 {
		r.limit = known
	}
}

// close closes a connection. The lock is held.
func (r *Redialer) close(conn *connection) {
	r.learn()
	r.connections = slices.DeleteFunc(r.connections, func(other *connection) bool { return other == conn })
	if conn.idle != nil {
		conn.idle.Stop()
	}
	_ = conn.client.Close()
	r.look()
}

// connect makes a connection, and waits no longer than it is wanted. It is given the token.
func (r *Redialer) connect(ctx context.Context) (seat, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan dialed, 1)
	// Ends when dial does, which should be soon after the context.
	go func() {
		defer func() { <-r.dialing }()
		s, err := r.dialOne(ctx)
		result <- dialed{s, err}
	}()
	select {
	case d := <-result:
		return d.seat, d.err
	case <-ctx.Done():
	case <-r.closed:
	}
	// Ends when dial does.
	go func() {
		if d := <-result; d.err == nil {
			d.seat.at.leave()
		}
	}()
	return seat{}, r.unwanted(ctx)
}

var errClosed = xerrors.Errorf("redialer: %w", os.ErrClosed)

// unwanted returns why there need not be a connection any more, or nil.
func (r *Redialer) unwanted(ctx context.Context) error {
	switch {
	case isClosed(r.closed):
		return &wsep.StartError{Err: errClosed}
	case ctx.Err() != nil:
		return &wsep.StartError{Err: ctx.Err()}
	}
	return nil
}

// dialed is what came of a dial.
type dialed struct {
	seat seat
	err  error
}

// dialOne makes a connection, with a place for whom it is made for.
func (r *Redialer) dialOne(ctx context.Context) (seat, error) {
	if err := r.unwanted(ctx); err != nil {
		return seat{}, err
	}
	pulse := newPulse()
	client, err := r.dial(context.WithValue(ctx, pulseKey{}, pulse))
	if err != nil {
		return seat{}, lost(xerrors.Errorf("dial: %w", err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.unwanted(ctx); err != nil {
		_ = client.Close()
		return seat{}, err
	}
	r.learn()
	conn := &connection{execer: newExecer(client, r.limit), lost: make(chan struct{})}
	conn.sessions.pulse = pulse
	conn.sessions.freed = func() { r.vacated(conn) }
	at := conn.sessions.take()
	r.connections = append(r.connections, conn)
	r.look()
	// Both end with the connection.
	go r.watch(conn)
	go pulse.keepAlive(client, r.interval, conn.lost)
	return seat{conn, at, true}, nil
}

// watch forgets a connection when it is lost.
func (r *Redialer) watch(conn *connection) {
	_ = conn.client.Wait()
	close(conn.lost)
	r.forget(conn)
}

// Close closes all connections. What still runs over them is lost, and nothing starts any more.
func (r *Redialer) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isClosed(r.closed) {
		close(r.closed)
	}
	for _, conn := range r.connections {
		_ = conn.client.Close()
	}
	return nil
}
