package wsep

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// serving is one connection being served.
//
// Three kinds of goroutines work on it. The reader takes messages off the connection and never waits for the process:
// stdin goes to a buffer, or at once to a process that takes it, everything else that concerns the process to the requests. The owner, run, starts the command,
// watches over the peer and decides when the conversation is over. The others carry one thing each: stdin to the process,
// its two outputs to the connection, requests to the process, its end to the client.
type serving struct {
	link
	server *Server
	execer Execer
	opts   *Options // with defaults; never written

	process Process          // set by the owner before anything uses it
	wait    func() error     // the process's Wait, which is called once
	release func()           // tells the server that the process has ended
	peer    proto.Extensions // what the client offered; set by the reader before it sends on start

	start    chan *proto.Start // what the client asked for; the reader sends once
	asked    bool              // a start message has come; the reader's
	stdin    *buffer
	stdinOn  bool // the client may send stdin; the reader's
	requests requests
	// stdoutCredit and stderrCredit are the client's windows. Set by the reader before it sends on start.
	stdoutCredit, stderrCredit *credit

	readErr chan error    // how the reader ended
	lost    chan error    // why the connection is lost, from others than the reader
	over    chan struct{} // closed when run returns: whoever is not done by then gives up
}

func newServing(srv *Server, conn Conn, execer Execer, opts *Options) *serving {
	return &serving{
		link:    link{conn: conn, writeTimeout: opts.WriteTimeout},
		server:  srv,
		execer:  execer,
		opts:    opts,
		start:   make(chan *proto.Start, 1),
		stdin:   newBuffer(defaultWindow),
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
	go func() {
		defer close(closed)
		s.readErr <- s.read()
	}()
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
	defer s.release()
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
	s.stdin.pumpTo(stdin, func(err error) { s.stdinEnded(ctx, stdin, err) })

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
	return &taken
}

// refuse tells a client that can be told why its command did not start. Others learn it from the close frame.
func (s *serving) refuse(err error) error {
	if s.peer.Outcome {
		reason := err
		if start, ok := errors.AsType[*StartError](err); ok {
			reason = start.Err
		}
		// If this can't be sent the caller's close frame can't either.
		_ = s.send(proto.StartError{Kind: kindOf(err), Message: cutString(reason.Error(), maxErrorText)})
	}
	return err
}

// conclude tells the client how the process ended, once its output has been sent or it has ended. Output that goes on
// without it is waited for after that.
func (s *serving) conclude(ctx context.Context, sent <-chan struct{}) error {
	await(sent, ctx.Done(), pendingGrace)
	waited := s.wait()
	pending := !isClosed(sent)
	s.release() // Before the client knows: it may start the next.
	if err := ctx.Err(); err != nil {
		return err
	}
	exit := outcome(waited)
	exit.Pending = pending
	if err := s.tell(exit, waited); err != nil || !pending {
		return err
	}
	select {
	case <-sent:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.tellEnd(proto.End{})
}

// sendOutputs sends both outputs. The channel is closed when all is sent.
func (s *serving) sendOutputs() <-chan struct{} {
	sent := make(chan struct{})
	var left atomic.Int32
	left.Store(2)
	// Each ends with its output, which ends with the process's context, or when the connection does not take it.
	carry := func(r io.Reader, header string, credit *credit) {
		out := sender{link: &s.link, header: header, limit: sizeLimit(&s.peer), credit: credit, stop: s.over}
		// How the stream ended is told with how its process did.
		if _, _, err := out.carry(r, out.sendFrame); err != nil {
			s.lose(err)
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

// exiter is implemented by processes whose Wait returns, and loses nothing, while their output has not been read. Not all
// do: os/exec closes its pipes. The channel is closed when the process has ended.
type exiter interface{ Exited() <-chan struct{} }

// Exited implements exiter.
func (p *localProcess) Exited() <-chan struct{} { return p.done }

// Exited implements exiter.
func (p *remoteProcess) Exited() <-chan struct{} { return p.done }

// Exited implements exiter.
func (p *sessionProcess) Exited() <-chan struct{} { return p.done }

// exited returns a channel that is closed when the process has ended, perhaps before its output has been sent. It is nil,
// which is never ready, if the process or the client does not go with that.
func (s *serving) exited() <-chan struct{} {
	p, ok := s.process.(exiter)
	if !ok || s.peer.Window == 0 || !s.peer.Outcome {
		return nil
	}
	return p.Exited()
}

// pendingGrace is how long after its process's end output is waited for before the client is told about the end.
const pendingGrace = 50 * time.Millisecond

// tell tells the client how the process ended.
func (s *serving) tell(exit proto.ExitCode, waited error) error {
	if !s.peer.Outcome {
		if exit.Kind != "" {
			// An older client takes every exit message for a process that ended. The close frame tells it the truth.
			return xerrors.Errorf("wait: %w", waited)
		}
		exit.Signal = ""
	}
	return s.tellEnd(exit)
}

func (s *serving) tellEnd(m any) error {
	if err := s.send(m); err != nil {
		return disconnected(xerrors.Errorf("send end: %w", err))
	}
	return nil
}

// awaitClose gives the client a moment to close the connection, once it has read all: what it has not is lost when the
// connection is closed here. A client answers pings in the order in which it reads.
func (s *serving) awaitClose(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan struct{})
	// Most clients close at once.
	asking := time.AfterFunc(askDelay, func() {
		defer close(answered)
		s.ask(ctx)
	})
	defer asking.Stop()
	var timeout <-chan time.Time
	for {
		select {
		case <-s.readErr:
			return
		case <-s.lost:
			return
		case <-ctx.Done():
			return
		case <-answered:
			answered = nil
			timeout = time.After(closeGrace)
		case <-timeout:
			return
		}
	}
}

// askDelay is how long a client has for closing the connection before it is asked whether it has read all.
const askDelay = 100 * time.Millisecond

// ask pings the client until that answers, ctx ends or the connection fails.
func (s *serving) ask(ctx context.Context) {
	for {
		err := s.conn.Ping(ctx)
		// The library has a timeout of its own, for a ping that waits behind a message.
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

// awaitEnd waits for a process whose context has ended, and for the rest of its group.
func (s *serving) awaitEnd() {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	ended := make(chan struct{})
	// Ends with the process.
	go func() {
		defer close(ended)
		_ = s.wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		s.opts.Logger.Error(ctx, "process did not end with its context", slog.F("pid", s.process.Pid()))
		return
	}
	if p, ok := s.process.(*localProcess); ok {
		p.awaitGone(ctx)
	}
}

// endTimeout is how long a process may take to end after its context has ended. A LocalExecer takes less.
const endTimeout = 5 * time.Second

// connectionEnd returns what Serve returns when the connection ended before the process.
func (s *serving) connectionEnd(err error) error {
	if _, ok := errors.AsType[*protocolError](err); ok {
		return err
	}
	if code, _, ok := peerClose(err); ok && code == statusNormal {
		return nil
	}
	return disconnected(xerrors.Errorf("read message: %w", err))
}

// read takes messages off the connection until it ends or the client breaks the protocol. It keeps reading when the
// process has ended, since that is how the client's close frame is noticed and pings are answered.
func (s *serving) read() error {
	// No end of file: to a session, which goes on, it would mean something.
	defer s.stdin.close(errStopped)
	for {
		data, msg, err := s.link.read(proto.StdinHeader)
		if unknown, ok := errors.AsType[proto.UnknownTypeError](err); ok {
			s.logUnknown(unknown)
			continue
		}
		if err == nil {
			err = s.handle(data, msg)
		}
		if err != nil {
			return err
		}
	}
}

func (s *serving) logUnknown(unknown proto.UnknownTypeError) {
	s.opts.Logger.Warn(context.Background(), "ignoring message of unknown type",
		slog.F("type", strconv.Quote(cutString(unknown.Type, 100))))
}

// handle handles one message of the client.
func (s *serving) handle(data bulk, msg any) error {
	if start, ok := msg.(proto.Start); ok {
		return s.handleStart(start)
	}
	if !s.asked {
		return protocolErrorf("%s sent before command started", describe(data, msg))
	}
	switch msg := msg.(type) {
	case nil:
		return s.handleBulk(data)
	case proto.CloseStdin:
		s.stdinOn = false
		s.stdin.close(io.EOF)
	case *proto.Ack:
		return s.handleAck(*msg)
	case proto.Resize, proto.Signal, proto.Close:
		return s.requests.add(msg)
	default:
		s.opts.Logger.Warn(context.Background(), "ignoring message that servers send",
			slog.F("message", describe(data, msg)))
	}
	return nil
}

func (s *serving) handleStart(start proto.Start) error {
	if s.asked {
		return protocolErrorf("command already started")
	}
	s.asked = true
	s.stdinOn = start.WantsStdin()
	if start.Extensions != nil {
		s.peer = *start.Extensions
	}
	s.stdoutCredit, s.stderrCredit = newCredit(s.peer.Window), newCredit(s.peer.Window)
	if s.peer.Window > 0 {
		s.stdin.strict = true
		s.stdin.consumed = newReceipts(defaultWindow, s.ackSender(proto.TypeStdin)).add
	}
	if s.peer.Window == 0 {
		s.stdin.full = s.poke
	}
	if s.peer.MaxMessage > 0 {
		s.conn.SetReadLimit(defaultMaxMessage)
	}
	s.start <- &start
	return nil
}

// handleBulk takes the body of a stdin message. Only a client without flow control can make it wait.
func (s *serving) handleBulk(data bulk) error {
	if data.stream != proto.TypeStdin {
		_, err := io.Copy(io.Discard, data.body)
		return err
	}
	if !s.stdinOn {
		return protocolErrorf("%w", errStdinDisabled)
	}
	defer s.life.deaf.Store(false)
	return s.stdin.fill(data.body, s.over)
}

// poke is called while the reader waits for a process to read its stdin. The connection's end can't be read then, so
// poke finds out by writing: a client that has closed its end answers with a reset.
func (s *serving) poke() {
	s.life.deaf.Store(true)
	if s.life.writing.Load() != 0 {
		return // That write will find out.
	}
	// Ends when the library gives up.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), pokeTimeout)
		defer cancel()
		if err := s.conn.Ping(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			s.lose(err)
		}
	}()
}

// pokeTimeout is how long a poke waits for an answer that, with nobody reading, can't come.
const pokeTimeout = time.Second

func (s *serving) handleAck(ack proto.Ack) error {
	if err := s.stdoutCredit.ack(ack.Stdout); err != nil {
		return err
	}
	return s.stderrCredit.ack(ack.Stderr)
}

// describe names a message in an error.
func describe(data bulk, msg any) string {
	switch msg.(type) {
	case nil:
		return string(data.stream)
	case proto.CloseStdin:
		return proto.TypeCloseStdin
	case proto.Resize:
		return proto.TypeResize
	case *proto.Ack:
		return proto.TypeAck
	case proto.Signal:
		return proto.TypeSignal
	case proto.Close:
		return proto.TypeClose
	case proto.Pid:
		return proto.TypePid
	case proto.ExitCode:
		return proto.TypeExitCode
	case proto.End:
		return proto.TypeEnd
	case proto.StartError:
		return proto.TypeStartError
	}
	return "message"
}

// stdinEnded is called when stdin has ended or the process takes no more.
func (s *serving) stdinEnded(ctx context.Context, stdin io.Closer, err error) {
	switch {
	case err == io.EOF:
		if err := stdin.Close(); err != nil {
			s.opts.Logger.Debug(ctx, "close stdin", slog.Error(err))
		}
	case !errors.Is(err, errStopped):
		s.opts.Logger.Debug(ctx, "process takes no more stdin", slog.Error(err))
		s.stdin.discard()
	}
}
