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

// serving serves one connection.
//
// Three kinds of goroutines work on it. The reader reads messages from the connection. It never waits for the process: it
// passes stdin to a buffer, or directly to a process that takes it at once, and all other messages for the process to the
// requests. The owner, run, starts the command, watches the client and decides when the conversation is over. Each of the
// others has one task: stdin to the process, one of its two outputs to the connection, requests to the process, or the exit
// to the client.
type serving struct {
	link
	server *Server
	execer Execer
	opts   *Options // with defaults; never written

	process Process          // set by the owner before any other goroutine uses it
	wait    func() error     // the process's Wait, called only once
	release func()           // tells the server that the process has exited; later calls do nothing
	peer    proto.Extensions // what the client offered; set by the reader before it sends on start

	start    chan *proto.Start // the start message; the reader sends once
	asked    bool              // a start message has come; owned by the reader
	stdin    *flow.Buffer
	stdinOn  bool // the client may send stdin; owned by the reader
	requests requests
	// stdoutCredit and stderrCredit are the client's windows. The reader sets them before it sends on start.
	stdoutCredit, stderrCredit *flow.Credit
	echoes                     *numberSender // answers echoes; nil if the client sends none; owned by the reader

	readErr chan error    // why the reader ended
	lost    chan error    // why the connection is lost, from goroutines other than the reader
	over    chan struct{} // closed when run returns; goroutines that still wait then give up

	cut atomic.Pointer[error] // why an output was lost before its end; nil if none was

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

// run serves the connection until the conversation is over.
func (s *serving) run(ctx context.Context) error {
	s.conn.SetReadLimit(proto.MinReadLimit)
	defer close(s.over)
	closed := make(chan struct{})
	// Ends when the connection is closed.
	go s.read(closed)
	defer s.ensureClosed(closed)

	start, err := s.awaitStart(ctx)
	if start == nil {
		return err
	}
	return s.serve(ctx, start)
}

// ensureClosed closes the connection if the caller of Serve forgets to.
func (s *serving) ensureClosed(closed <-chan struct{}) {
	if isClosed(closed) {
		return
	}
	t := time.AfterFunc(callerTimeout, func() { _ = s.conn.CloseNow() })
	// Ends when the connection is closed.
	go func() {
		<-closed
		t.Stop()
	}()
}

// callerTimeout is how long the caller of Serve has to close the connection.
const callerTimeout = 10 * time.Second

// awaitStart waits for the client's start message. If the client closes the connection instead, it returns neither a message
// nor an error.
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

// serve starts the command. It returns when the command has exited and the client knows, or when the connection is lost.
func (s *serving) serve(ctx context.Context, start *proto.Start) error {
	// The process lives as long as this context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.begin(ctx, start); s.process == nil {
		return err
	}
	return s.attend(ctx, cancel, start)
}

// begin starts the command. If the client closes the connection before the start is done, there is neither a process nor an
// error.
func (s *serving) begin(ctx context.Context, start *proto.Start) error {
	begun := make(chan started, 1)
	// Ends when the start has succeeded or failed. The end of the context makes it fail early.
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
		go awaitUnwanted(begun)
		return s.connectionEnd(err)
	case err := <-s.lost:
		go awaitUnwanted(begun)
		return disconnected(err)
	case <-ctx.Done():
		go awaitUnwanted(begun)
		return ctx.Err()
	}
}

// started is the result of a start.
type started struct {
	process Process
	release func()
	err     error
}

// awaitUnwanted waits for the exit of a command that may still start, after its context has ended and its client is lost.
func awaitUnwanted(begun <-chan started) {
	if r := <-begun; r.err == nil {
		_ = r.process.Wait()
		r.release()
	}
}

// attend is serve after the command has started.
func (s *serving) attend(ctx context.Context, cancel context.CancelFunc, start *proto.Start) error {
	err := s.send(proto.Pid{Pid: s.process.Pid(), Extensions: accept(start.Extensions)})
	if err != nil {
		cancel()
		s.awaitExit()
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
	s.awaitExit()
	return err
}

// follow sends the output and the exit to the client. over says whether the client has been sent all of it. If not, err says
// why.
func (s *serving) follow(ctx context.Context) (over bool, err error) {
	sent := s.sendOutputs()
	exited := s.exited()
	reported := make(chan error, 1)
	for {
		select {
		case <-sent:
		case <-exited:
		case err := <-reported:
			return err == nil, err
		case err := <-s.readErr:
			return false, s.connectionEnd(err)
		case err := <-s.lost:
			return false, disconnected(err)
		case <-ctx.Done():
			return false, ctx.Err()
		}
		// Ends with ctx at the latest.
		go func(sent <-chan struct{}) { reported <- s.reportExit(ctx, sent) }(sent)
		sent, exited = nil, nil
	}
}

// lose tells the owner that the connection is lost. Only the first reason counts.
func (s *serving) lose(err error) {
	select {
	case s.lost <- err:
	default:
	}
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
	}
}

// accept returns the extensions that this version accepts from a client's offer.
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

// sendOutputs sends both outputs. It closes the channel when all is sent.
func (s *serving) sendOutputs() <-chan struct{} {
	sent := make(chan struct{})
	var left atomic.Int32
	left.Store(2)
	// Each ends when its output ends, which the end of the process's context causes, or when the connection fails.
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

// whenReady calls do on a new goroutine when r has bytes to read or has ended. If r can't tell, it calls do at once.
func whenReady(r io.Reader, do func(io.Reader)) {
	if r, ok := r.(interface{ whenReady(do func()) }); ok {
		r.whenReady(func() { do(r.(io.Reader)) })
		return
	}
	go do(r)
}

// stdinEnded is called when stdin has ended, or when the process takes no more of it.
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
