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
// lost, and further ones when the server allows no more sessions on those that there are. It is safe for concurrent
// use.
//
// A command whose connection is lost is lost with it, and not started again. A session of a wsep.Server goes on: it
// lives on the host, and is found again over the next connection.
type Redialer struct {
	dial     func(context.Context) (*ssh.Client, error)
	interval time.Duration // of keep-alives

	dialing chan struct{} // holds a token while dial is called
	closed  chan struct{} // closed by Close

	mu          sync.Mutex // guards what follows
	connections []*connection
	made        int // how many connections there have been
}

// connection is one of a Redialer's connections.
type connection struct {
	*execer
	number int
	lost   chan struct{} // closed when it is lost
}

// defaultInterval is how often the host is asked whether it is there, and how long it has for the answer.
const defaultInterval = 15 * time.Second

// Redial returns a Redialer that connects by dial. The connections belong to the Redialer. dial is called by one
// goroutine at a time, and should give up when its context ends, because nobody else can dial before. The context ends
// with that of the Start that needs the connection, with Close, and when dial has returned. A Start does not wait longer
// for a dial that goes on, and a connection that comes too late is closed.
//
// A host that falls silent is noticed after 30 seconds at most, and its connection closed.
func Redial(dial func(context.Context) (*ssh.Client, error)) *Redialer {
	return &Redialer{
		dial:     dial,
		interval: defaultInterval,
		dialing:  make(chan struct{}, 1),
		closed:   make(chan struct{}),
	}
}

// Start implements wsep.Execer. The error of a connection that could not be made matches wsep.ErrDisconnected.
func (r *Redialer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	return r.start(ctx, c, false)
}

// StartLasting is Start for a command that is left alone when its connection is lost.
func (r *Redialer) StartLasting(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	return r.start(ctx, c, true)
}

func (r *Redialer) start(ctx context.Context, c wsep.Command, lasting bool) (wsep.Process, error) {
	for last := 0; ; {
		conn, dialed, err := r.next(ctx, last)
		if err != nil {
			return nil, err
		}
		p, err := conn.begin(ctx, c, lasting)
		if err == nil || dialed || !elsewhere(err) {
			return p, err
		}
		last = conn.number
	}
}

// elsewhere reports whether a command that did not start may do so over another connection, and surely does not run.
func elsewhere(err error) bool {
	if _, unopened := errors.AsType[*unopenedError](err); unopened {
		return true
	}
	_, refused := errors.AsType[*refusedError](err)
	return refused && errors.Is(err, wsep.ErrBusy)
}

// next returns the next connection after the one with a number, and whether it had to be dialed for that.
func (r *Redialer) next(ctx context.Context, last int) (conn *connection, dialed bool, err error) {
	if conn := r.after(last); conn != nil {
		return conn, false, nil
	}
	select {
	case r.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, false, r.unwanted(ctx)
	case <-r.closed:
		return nil, false, r.unwanted(ctx)
	}
	if conn := r.after(last); conn != nil {
		<-r.dialing
		return conn, false, nil // Somebody else has dialed.
	}
	conn, err = r.connect(ctx)
	return conn, true, err
}

func (r *Redialer) after(last int) *connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.connections {
		if conn.number > last {
			return conn
		}
	}
	return nil
}

// connect dials, and waits no longer than the connection is wanted. It is given the token.
func (r *Redialer) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan dialed, 1)
	// Ends when dial does, which should be soon after the context.
	go func() {
		defer func() { <-r.dialing }()
		conn, err := r.dialOne(ctx)
		result <- dialed{conn, err}
	}()
	select {
	case d := <-result:
		return d.conn, d.err
	case <-ctx.Done():
	case <-r.closed:
	}
	return nil, r.unwanted(ctx)
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
	conn *connection
	err  error
}

// dialOne makes a connection.
func (r *Redialer) dialOne(ctx context.Context) (*connection, error) {
	if err := r.unwanted(ctx); err != nil {
		return nil, err
	}
	client, err := r.dial(ctx)
	if err != nil {
		return nil, lost(xerrors.Errorf("dial: %w", err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.unwanted(ctx); err != nil {
		_ = client.Close()
		return nil, err
	}
	r.made++
	conn := &connection{execer: newExecer(client), number: r.made, lost: make(chan struct{})}
	r.connections = append(r.connections, conn)
	// Both end with the connection.
	go r.watch(conn)
	go conn.keepAlive(r.interval)
	return conn, nil
}

// watch forgets a connection when it is lost.
func (r *Redialer) watch(conn *connection) {
	_ = conn.client.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connections = slices.DeleteFunc(r.connections, func(other *connection) bool { return other == conn })
	close(conn.lost)
}

// keepAlive closes the connection when the host does not answer.
func (c *connection) keepAlive(interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.lost:
			return
		}
		silent := time.AfterFunc(interval, func() { _ = c.client.Close() })
		_, _, err := c.client.SendRequest(keepAlive, true, nil)
		silent.Stop()
		if err != nil {
			// Without a connection to ask over there is none to keep.
			_ = c.client.Close()
			return
		}
	}
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
