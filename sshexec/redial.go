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

// Redialer is a [wsep.Execer] that makes its connections itself. It dials when a command is started and no connection
// has room for it: before the first command, after a loss, and when the server allows no more sessions on the other
// connections. With ten connections, a start first waits for a session to end, for as long as sessions do. On a host with
// dropbear 2022.82 to 2024.85 each command has a connection of its own, and a start waits with ninety. A connection that has
// carried no command for 30 seconds is closed. [Redial] makes a Redialer, and the caller must close it. It is safe for
// concurrent use.
//
// When a connection is lost, its commands are ended and not started again. A session of a [wsep.Server] goes on. It is
// on the host, and clients attach to it over the next connection.
//
// The error of Start matches [wsep.ErrBusy] if the server allows less than two sessions on an idle connection.
type Redialer struct {
	dial     func(context.Context) (*ssh.Client, error)
	interval time.Duration // of keep-alives
	idle     time.Duration // how long an idle connection is kept

	dialing chan struct{} // holds a token while dial runs
	room    chan struct{} // holds a token when a waiting start should look for a place
	closed  chan struct{} // closed by Close

	mu          sync.Mutex // guards what follows
	connections []*connection
	limit       int       // how many commands the host allows on a connection, as far as known
	fragile     bool      // each command needs a connection of its own: see isFragile
	freed       time.Time // when a command last left its place
}

// connection is one of a Redialer's connections.
type connection struct {
	*execer
	lost chan struct{} // closed when the connection is lost
	idle *time.Timer   // closes the connection; guarded by the lock of the Redialer
}

const (
	// defaultInterval is how long a host may be silent before it is asked for an answer, and how long it has to answer.
	defaultInterval = 15 * time.Second
	// defaultIdle is how long an idle connection is kept.
	defaultIdle = 30 * time.Second
	// fewConnections is how many connections are made without waiting for sessions to end.
	fewConnections = 10
	// defaultCommands is how many commands OpenSSH allows on a connection by default. On a fragile host so many more connections
	// are few.
	defaultCommands = 9
	// standstill is how long no session must have ended before a further connection is made.
	standstill = time.Second
)

// Redial returns a [Redialer] that connects with dial. The connections belong to the Redialer. One goroutine at a time
// calls dial. Its context ends when the context of the Start ends, when the Redialer is closed, and when dial returns.
// dial should return soon after its context ends, because no other Start can dial before. A Start whose context has
// ended does not wait for dial, and a connection that comes too late is closed.
//
// When a host is silent for 30 seconds, its connection is closed. If dial uses [Connect], a slow host is not taken for
// a silent one.
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

// Start implements [wsep.Execer]. If no connection could be made, the error matches [wsep.ErrDisconnected].
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

// elsewhere reports whether a start that failed may be tried again over another connection. It is false if the command
// may run.
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

// find waits for a place for a command. If no connection has one, it makes a connection.
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
			// Another goroutine may have dialed meanwhile.
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

// reserve takes a place on an existing connection.
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

// look wakes a start that waits for a place.
func (r *Redialer) look() {
	select {
	case r.room <- struct{}{}:
	default:
	}
}

// reluctance returns how much longer a start should wait for a place before it dials. It has waited since begun. It
// waits while sessions are ending, and longer if there are many connections.
func (r *Redialer) reluctance(begun time.Time) (wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	few := fewConnections
	if r.fragile {
		few *= defaultCommands
	}
	if len(r.connections) >= few {
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

// expire closes a connection if it is idle.
func (r *Redialer) expire(conn *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, idle := conn.sessions.room(); idle {
		r.close(conn)
	}
}

// forget removes and closes a lost connection.
func (r *Redialer) forget(conn *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close(conn)
}

// learn updates how many commands the host allows on a connection. The lock is held.
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

// connect makes a connection. It waits until the context ends or the Redialer is closed. The caller holds the token of
// dialing, and connect releases it.
func (r *Redialer) connect(ctx context.Context) (seat, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan dialed, 1)
	// Ends when dial returns, which should be soon after the end of the context.
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
	// Ends when dial returns.
	go func() {
		if d := <-result; d.err == nil {
			d.seat.at.leave()
		}
	}()
	return seat{}, r.unwanted(ctx)
}

var errClosed = xerrors.Errorf("redialer: %w", os.ErrClosed)

// unwanted returns an error if no connection is needed any more: the Redialer is closed or the context has ended.
func (r *Redialer) unwanted(ctx context.Context) error {
	switch {
	case isClosed(r.closed):
		return &wsep.StartError{Err: errClosed}
	case ctx.Err() != nil:
		return &wsep.StartError{Err: ctx.Err()}
	}
	return nil
}

// dialed is the result of a dial.
type dialed struct {
	seat seat
	err  error
}

// dialOne makes a connection and takes a place on it.
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
	limit := r.limit
	if isFragile(client.ServerVersion()) {
		limit, r.fragile = 1, true
	}
	conn := &connection{execer: newExecer(client, limit), lost: make(chan struct{})}
	conn.sessions.pulse = pulse
	conn.sessions.freed = func() { r.vacated(conn) }
	at := conn.sessions.take()
	r.connections = append(r.connections, conn)
	r.look()
	// Both end when the connection is closed.
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

// Close closes all connections. Commands that still run over them are ended, and no more are started. It returns nil.
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
