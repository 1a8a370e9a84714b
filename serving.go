package wsep

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/peerlog"
	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wsconn"
)

// serving is a connection that a server serves. Two goroutines work on it. The reader reads messages from the connection,
// and never waits for the process. The owner, run, drives the conversation that the connection carries: see drive.
type serving struct {
	link
	server *Server
	execer Execer
	opts   *Options // with defaults; never written

	offered *proto.Extensions // what the client offered, or nil; set by the reader before it sends on first, as is peer
	peer    proto.Extensions  // the same, or none
	reuse   reuse             // whether the connection may carry another conversation
	conv    *conversation     // set by the reader before it sends a start, by the owner before it sets adopted

	first   chan any    // the client's first message: *proto.Start, *proto.Resume or *proto.Ask; the reader sends once
	asked   bool        // the first message has come; owned by the reader, as is resumes
	resumes bool        // it was a resume
	asks    bool        // it was a question; owned by the reader
	adopted atomic.Bool // the reader may read on after a resume
	fenced  atomic.Bool // another connection takes over. Nothing that the reader reads counts any more

	echoes *numberSender // answers echoes; nil if the client sends none; owned by the reader

	readErr chan error    // why the reader ended
	closed  chan struct{} // closed when the reader has ended
	lost    chan error    // why the connection is lost, from goroutines other than the reader
	over    chan struct{} // closed when run returns; a reader that waits for room then gives up

	outputs  atomic.Int32  // how many outputs this connection has carried to their end
	sentBoth chan struct{} // closed when it has carried both

	noise peerlog.Ration // bounds the log of what the client can cause at will
}

func newServing(srv *Server, conn Conn, execer Execer, opts *Options) *serving {
	s := &serving{
		link:     link{conn: conn, writeTimeout: opts.WriteTimeout},
		server:   srv,
		execer:   execer,
		opts:     opts,
		first:    make(chan any, 1),
		readErr:  make(chan error, 1),
		closed:   make(chan struct{}),
		lost:     make(chan error, 1),
		over:     make(chan struct{}),
		sentBoth: make(chan struct{}),
	}
	s.link.failed = s.lose
	s.link.sent = s.outputSent
	return s
}

// run serves the connection until its conversation is over, or goes on over another connection.
func (s *serving) run(ctx context.Context) error {
	s.conn.SetReadLimit(proto.MinReadLimit)
	defer close(s.over)
	// Ends when the connection is closed.
	go s.read()
	defer s.ensureClosed()

	first, err := s.awaitFirst(ctx)
	switch first := first.(type) {
	case *proto.Start:
		return s.serve(ctx, first)
	case *proto.Resume:
		return s.resume(ctx, first)
	case *proto.Ask:
		return s.answer(ctx, first)
	}
	return err
}

// ensureClosed closes the connection if the caller of Serve forgets to.
func (s *serving) ensureClosed() {
	if isClosed(s.closed) {
		return
	}
	t := time.AfterFunc(callerTimeout, func() { _ = s.conn.CloseNow() })
	// Ends when the connection is closed.
	go func() {
		<-s.closed
		t.Stop()
	}()
}

// callerTimeout is how long the caller of Serve has to close the connection.
const callerTimeout = 10 * time.Second

// awaitFirst waits for the client's first message. If the client closes the connection instead, it returns neither a message
// nor an error.
func (s *serving) awaitFirst(ctx context.Context) (any, error) {
	if s.reuse.again {
		return s.awaitNext(ctx)
	}
	var timeout <-chan time.Time
	if s.opts.StartTimeout > 0 {
		t := time.NewTimer(s.opts.StartTimeout)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case first := <-s.first:
		return first, nil
	case err := <-s.readErr:
		return nil, s.connectionEnd(err)
	case <-timeout:
		return nil, &protocolError{err: xerrors.New("no start message came in time"), code: statusPolicy}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// grantZeroMask decides whether the client may mask large stdin messages with zero. It may where their bodies then go from the
// connection to the process without a copy.
func (s *serving) grantZeroMask() bool {
	conn, ok := s.conn.(*wsconn.CoderConn)
	if !ok {
		return false
	}
	granted := s.peer.ZeroMask && s.peer.Window > 0 && conn.LeavesBodies() && s.conv.takesBodies()
	if granted {
		conn.LeaveBodies(proto.StdinHeader, defaultMaxMessage)
	} else {
		conn.LeaveBodies("", 0)
	}
	return granted
}

// takesBodies reports whether the process can take stdin from a connection.
func (c *conversation) takesBodies() bool {
	if c.process == nil {
		return false
	}
	_, takes := c.process.Stdin().(flow.Taker)
	return takes
}

// serve starts the command and drives the conversation about it.
func (s *serving) serve(ctx context.Context, start *proto.Start) error {
	if err := s.server.addConversation(ctx, s.conv, start); err != nil {
		return s.refuse(err)
	}
	s.conv.begin(start)
	return newDrive(ctx, s).run()
}

// lose tells the owner that the connection is lost. Only the first reason counts.
func (s *serving) lose(err error) {
	select {
	case s.lost <- err:
	default:
	}
}

// outputSent counts an output that the connection has carried to its end.
func (s *serving) outputSent() {
	if s.outputs.Add(1) == 2 {
		close(s.sentBoth)
	}
}

// connectionEnd returns what Serve returns when the connection was closed or lost before the conversation was over. nil says
// that the client has closed it for good.
func (s *serving) connectionEnd(err error) error {
	if _, ok := errors.AsType[*protocolError](err); ok {
		return err
	}
	if err == errDone {
		return nil
	}
	if code, _, ok := peerClose(err); ok && code == statusNormal {
		return nil
	}
	return disconnected(xerrors.Errorf("read message: %w", err))
}

// commandOf returns the command of a start message.
func commandOf(start *proto.Start) Command {
	rows, cols := start.Size()
	return Command{
		ID:         start.ID,
		Command:    start.Command.Command,
		Args:       start.Command.Args,
		TTY:        start.Command.TTY,
		Rows:       rows,
		Cols:       cols,
		Stdin:      start.WantsStdin(),
		UID:        start.Command.UID,
		GID:        start.Command.GID,
		Env:        start.Command.Env,
		WorkingDir: start.Command.WorkingDir,
		Scrollback: start.Scrollback,
		Keep:       keepOf(start.Extensions),
	}
}

// keepOf returns [Command.Keep].
func keepOf(e *proto.Extensions) time.Duration {
	if e == nil {
		return 0
	}
	return time.Duration(min(e.Keep, maxResumeSeconds)) * time.Second
}

// session returns what the client is told of the process's session.
func (s *serving) session() proto.Session {
	if p, ok := processAs[Sessioner](s.conv.process); ok && s.peer.Session {
		return p.Session().onWire()
	}
	return ""
}

// keptProcess is a process that may be kept: see [Command.Keep].
type keptProcess interface {
	// keptFor returns for how many seconds after its exit the command is remembered, or 0 if it is not.
	keptFor() int64
}

// accept returns the extensions that this version accepts from the client's offer.
func (s *serving) accept() *proto.Extensions {
	if s.offered == nil {
		return nil
	}
	var taken proto.Extensions
	if s.peer.Window > 0 {
		taken.Window = defaultWindow
	}
	if s.peer.MaxMessage > 0 {
		taken.MaxMessage = defaultMaxMessage
	}
	taken.Signal = s.peer.Signal
	taken.Outcome = s.peer.Outcome
	taken.Echo = s.peer.Echo
	taken.Session = s.peer.Session
	if p, ok := processAs[keptProcess](s.conv.process); ok && s.peer.Keep > 0 {
		taken.Keep = p.keptFor()
	}
	taken.Resume = int64(s.conv.grace / time.Second)
	taken.Reuse = s.grantReuse()
	taken.ZeroMask = s.grantZeroMask()
	return &taken
}
