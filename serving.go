package wsep

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/peerlog"
	"cdr.dev/wsep/internal/proto"
)

// serving is one connection being served.
//
// Three kinds of goroutines work on it. The reader takes messages off the connection and never waits for the process:
// stdin goes to a buffer, or at once to a process that takes it, everything else that concerns the process to the
// requests. The owner, run, starts the command, watches over the peer and decides when the conversation is over. The
// others carry one thing each: stdin to the process, its two outputs to the connection, requests to the process, its end
// to the client.
type serving struct {
	link
	server *Server
	execer Execer
	opts   *Options // with defaults; never written

	process Process          // set by the owner before anything uses it
	wait    func() error     // the process's Wait, which is called once
	release func()           // tells the server that the process has ended, the first time that it is called
	peer    proto.Extensions // what the client offered; set by the reader before it sends on start

	start    chan *proto.Start // what the client asked for; the reader sends once
	asked    bool              // a start message has come; the reader's
	stdin    *flow.Buffer
	stdinOn  bool // the client may send stdin; the reader's
	requests requests
	// stdoutCredit and stderrCredit are the client's windows. Set by the reader before it sends on start.
	stdoutCredit, stderrCredit *flow.Credit
	echoes                     *numberSender // answers echoes; nil if the client sends none. The reader's

	readErr chan error    // how the reader ended
	lost    chan error    // why the connection is lost, from others than the reader
	over    chan struct{} // closed when run returns: whoever is not done by then gives up

	cut atomic.Pointer[error] // why an output ended before its end; nil if none has

	noise peerlog.Ration // bounds the log of what the client can cause at will
}

func newServing(srv *Server, conn Conn, execer Execer, opts *Options) *serving {
	return &serving{
		link:    link{conn: conn, writeTimeout: opts.WriteTimeout},
		server:  srv,
		execer:  execer,
		opts:    opts,
		start:   make(chan *proto.Start, 1),
		stdin:   flow.NewBuffer(defaultWindow),
		readErr: make(chan error, 1),
		lost:    make(chan error, 1),
		over:    make(chan struct{}),
	}
}

// run serves the connection until it is over.
func (s *serving) run(ctx context.Context) error {
	s.conn.SetReadLimit(proto.MinReadLimit)
	defer close(s.over)
	closed := make(chan struct{})
	// Ends when the connection is closed.
	go s.read(closed)
	defer s.abandon(closed)

	start, err := s.awaitStart(ctx)
	if start == nil {
		return err
	}
	return s.serve(ctx, start)
}

// abandon sees to it that a connection whose caller forgets to close it is closed.
func (s *serving) abandon(closed <-chan struct{}) {
	if isClosed(closed) {
		return
	}
	t := time.AfterFunc(abandonTimeout, func() { _ = s.conn.CloseNow() })
	// Ends when the connection is closed.
	go func() {
		<-closed
		t.Stop()
	}()
}

// abandonTimeout is how long after Serve has returned its caller has for closing the connection.
const abandonTimeout = 10 * time.Second

// awaitStart waits for the client's start message. A client that closes the connection instead leaves neither that nor an
// error.
func (s *serving) awaitStart(ctx context.Context) (*proto.Start, error) {
	var timeout <-chan time.Time
	if s.opts.StartTimeout > 0 {
		t := time.NewTimer(s.opts.StartTimeout)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case start := <-s.start:
		return start, nil
	case err := <-s.readErr:
		return nil, s.connectionEnd(err)
	case <-timeout:
		return nil, &protocolError{err: xerrors.New("no start message came in time"), code: statusPolicy}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve starts the command and stays until it has ended and the client has been told, or the connection is lost.
func (s *serving) serve(ctx context.Context, start *proto.Start) error {
	// The process lives as long as this context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.begin(ctx, start); s.process == nil {
		return err
	}
	return s.attend(ctx, cancel, start)
}

// begin starts the command. A client that closes the connection meanwhile leaves neither a process nor an error.
func (s *serving) begin(ctx context.Context, start *proto.Start) error {
	begun := make(chan started, 1)
	// Ends when the command has started or failed to, which the context hastens.
	go func() {
		p, release, err := s.server.start(ctx, s.execer, commandOf(start), s.opts)
		begun <- started{p, release, err}
	}()
	watched, unwatch := context.WithCancel(ctx)
	defer unwatch()
	if s.opts.KeepAlive > 0 {
		s.keepAlive(watched, s.opts.KeepAlive, false, 0, s.lose) // Every client reads until pid has come.
	}
	select {
	case r := <-begun:
		if r.err != nil {
			return s.refuse(r.err)
		}
		s.process, s.wait, s.release = r.process, sync.OnceValue(r.process.Wait), r.release
		return nil
	case err := <-s.readErr:
		go bury(begun)
		return s.connectionEnd(err)
	case err := <-s.lost:
		go bury(begun)
		return disconnected(err)
	case <-ctx.Done():
		go bury(begun)
		return ctx.Err()
	}
}

// started is how the start of a command went.
type started struct {
	process Process
	release func()
	err     error
}

// bury sees off a command that may still start, though its context has ended, when nobody waits for it any more.
func bury(begun <-chan started) {
	if r := <-begun; r.err == nil {
		_ = r.process.Wait()
		r.release()
	}
}

// attend is serve once the command runs.
func (s *serving) attend(ctx context.Context, cancel context.CancelFunc, start *proto.Start) error {
	err := s.send(proto.Pid{Pid: s.process.Pid(), Extensions: accept(start.Extensions)})
	if err != nil {
		cancel()
		s.awaitEnd()
		return disconnected(xerrors.Errorf("send pid: %w", err))
	}
	if s.opts.KeepAlive > 0 {
		read := s.life.written.Load() // Every client reads pid.
		s.keepAlive(ctx, s.opts.KeepAlive, s.peer.Window == 0, read, s.lose)
	}
	s.requests.begin(ctx, s)
	stdin := s.process.Stdin()
	s.stdin.PumpTo(stdin, func(err error) { s.stdinEnded(ctx, stdin, err) })

	over, err := s.follow(ctx)
	if over {
		s.awaitClose(ctx)
		return nil
	}
	cancel()
	s.awaitEnd()
	return err
}

// follow sends the client what the process puts out, and how it ended. It reports whether the client has been told all
// there is, and if not, why.
func (s *serving) follow(ctx context.Context) (over bool, err error) {
	sent := s.sendOutputs()
	exited := s.exited()
	concluded := make(chan error, 1)
	for {
		select {
		case <-sent:
		case <-exited:
		case err := <-concluded:
			return err == nil, err
		case err := <-s.readErr:
			return false, s.connectionEnd(err)
		case err := <-s.lost:
			return false, disconnected(err)
		case <-ctx.Done():
			return false, ctx.Err()
		}
		// Ends with ctx.
		go func(sent <-chan struct{}) { concluded <- s.conclude(ctx, sent) }(sent)
		sent, exited = nil, nil
	}
}

// lose tells the owner that the connection is lost. The first reason counts.
func (s *serving) lose(err error) {
	select {
	case s.lost <- err:
	default:
	}
}

// commandOf returns the command that the client asked for.
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
	}
}

// accept returns what this version takes of what a client offers.
func accept(offered *proto.Extensions) *proto.Extensions {
	if offered == nil {
		return nil
	}
	var taken proto.Extensions
	if offered.Window > 0 {
		taken.Window = defaultWindow
	}
	if offered.MaxMessage > 0 {
		taken.MaxMessage = defaultMaxMessage
	}
	taken.Signal = offered.Signal
	taken.Outcome = offered.Outcome
	taken.Echo = offered.Echo
	return &taken
}

// sendOutputs sends both outputs. The channel is closed when all is sent.
func (s *serving) sendOutputs() <-chan struct{} {
	sent := make(chan struct{})
	var left atomic.Int32
	left.Store(2)
	// Each ends with its output, which ends with the process's context, or when the connection does not take it.
	carry := func(r io.Reader, header string, credit *flow.Credit) {
		out := sender{
			link: &s.link, header: header, limit: sizeLimit(&s.peer), credit: credit, stop: s.over, pace: firstPace,
		}
		_, cut, err := out.carry(r, out.sendFrame)
		if err != nil {
			s.lose(err)
		}
		if cut != nil {
			s.cut.CompareAndSwap(nil, &cut)
		}
		if left.Add(-1) == 0 {
			close(sent)
		}
	}
	whenReady(s.process.Stdout(), func(r io.Reader) { carry(r, proto.StdoutHeader, s.stdoutCredit) })
	whenReady(s.process.Stderr(), func(r io.Reader) { carry(r, proto.StderrHeader, s.stderrCredit) })
	return sent
}

// whenReady calls do, on a goroutine of its own, when r has something to read, or at once if r can't tell.
func whenReady(r io.Reader, do func(io.Reader)) {
	if r, ok := r.(interface{ whenReady(do func()) }); ok {
		r.whenReady(func() { do(r.(io.Reader)) })
		return
	}
	go do(r)
}

// stdinEnded is called when stdin has ended or the process takes no more.
func (s *serving) stdinEnded(ctx context.Context, stdin io.Closer, err error) {
	switch {
	case err == io.EOF:
		if err := stdin.Close(); err != nil {
			s.opts.log().Debug(ctx, "close stdin", slog.Error(err))
		}
	case !errors.Is(err, flow.ErrStopped):
		s.opts.log().Debug(ctx, "process takes no more stdin", slog.Error(err))
		s.stdin.Discard()
	}
}
