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
	"cdr.dev/wsep/internal/proto"
)

// conversation is what a server and its client say about one command. It owns the process, and all that the client may not
// have received yet: output, acknowledgments, the exit. It knows nothing of sockets. It outlives its connection: a client
// that comes back takes it up over the next one.
//
// One goroutine at a time drives it: the Serve of the client's connection. When the connection is lost, that Serve waits
// for the client to come back. Then the Serve of the new connection takes over, and the old one returns.
type conversation struct {
	server *Server
	execer Execer
	opts   *Options // with defaults; never written
	key    keyHash  // zero if the client can't come back
	window int64    // the client's
	// knowsGaps says that the client knows skipped.
	knowsGaps bool
	// grace is how long a client is waited for whose connection is lost. 0 means not at all. It is set before begin.
	grace time.Duration

	ctx    context.Context // the process lives as long
	cancel context.CancelFunc
	shut   func() // ends ctx because the server goes

	forward   atomic.Pointer[forward] // carries the conversation to and from the next hop, which holds it; nil if it is held here
	forwarded chan struct{}           // closed when forward is set

	// The driver owns what follows.
	forwarding *forwarding     // how the conversation may be forwarded; nil if it may not
	begun      <-chan started  // receives the result of the start; nil once it is known
	failed     error           // why the command did not start
	process    Process         // nil before it has started
	wait       func() error    // the process's Wait, called only once
	release    func()          // tells the server that the process has exited; later calls do nothing
	exited     <-chan struct{} // closed when the process has exited; nil if it can't tell

	// The reader of the client's connection owns stdinOn. A driver that takes over waits for the end of that reader.
	stdinOn bool // the client may send stdin

	stdin          *flow.Buffer
	stdinReceipt   receipt
	requestReceipt receipt
	requests       requests
	stdout, stderr *sender
	reading        atomic.Int32          // outputs that have not ended
	cut            atomic.Pointer[error] // why an output was lost before its end; nil if none was

	listener atomic.Pointer[link] // over which the client is told of skipped bytes; nil while it can't be told
	telling  sync.Mutex           // held while it is told

	learning atomic.Bool   // a goroutine waits for the process
	known    chan struct{} // closed when exit is set
	exit     error         // what the process's Wait returned

	carrier  atomic.Pointer[link] // the connection that carries the conversation, or did last
	attempt  int64                // the highest of the attempts to take it up; guarded by the Server's lock
	takeover chan takeover        // a connection asks for the conversation
	over     chan struct{}        // closed when the conversation is over
	done     chan struct{}        // closed when its process has exited, too, or took too long for that
}

// newConversation returns the conversation about the command that start asks for.
func newConversation(s *serving, start *proto.Start) *conversation {
	c := &conversation{
		server:         s.server,
		execer:         s.execer,
		opts:           s.opts,
		window:         s.peer.Window,
		knowsGaps:      s.peer.Session,
		stdinOn:        start.WantsStdin(),
		stdin:          flow.NewBuffer(defaultWindow),
		stdinReceipt:   receipt{field: proto.TypeStdin},
		requestReceipt: receipt{field: proto.AckSeq},
		known:          make(chan struct{}),
		forwarded:      make(chan struct{}),
		takeover:       make(chan takeover),
		over:           make(chan struct{}),
		done:           make(chan struct{}),
	}
	c.reading.Store(2)
	c.stdout, c.stderr = newSender(proto.StdoutHeader, c.over), newSender(proto.StderrHeader, c.over)
	c.stdout.lasting, c.stderr.lasting = true, true
	c.requests.conversation = c
	return c
}

// takeover is a connection's wish to have a conversation.
type takeover struct {
	attempt int64
	granted chan<- bool // has room for one; receives true when the other connection has let go
}

// live begins the time of the process. If the client may come back, that time does not end with the connection's context.
func (c *conversation) live(ctx context.Context) {
	if c.grace > 0 {
		ctx = context.WithoutCancel(ctx)
	}
	var cancel context.CancelCauseFunc
	c.ctx, cancel = context.WithCancelCause(ctx)
	c.cancel = func() { cancel(nil) }
	c.shut = func() { cancel(errServerClosing) }
}

// begin starts the command. begun receives the result.
func (c *conversation) begin(start *proto.Start) {
	begun := make(chan started, 1)
	c.begun = begun
	command, ctx := commandOf(start), c.ctx
	if c.forwarding = c.forwardingOf(start); c.forwarding != nil {
		ctx = context.WithValue(ctx, forwardingKey{}, c.forwarding)
	}
	// Ends when the start has succeeded or failed. The end of the context makes it fail early.
	go func() {
		p, release, err := c.server.start(ctx, c.execer, command, c.opts)
		begun <- started{p, release, err}
	}()
}

// started is the result of a start.
type started struct {
	process Process
	release func()
	err     error
}

// awaitUnwanted waits for the exit of a command that may still start, after its conversation is over.
func awaitUnwanted(begun <-chan started) {
	if r := <-begun; r.err == nil {
		_ = r.process.Wait()
		r.release()
	}
}

// run begins to carry the streams and the requests of a process.
func (c *conversation) run(r started) {
	c.process, c.wait, c.release = r.process, r.process.Wait, r.release
	if p, ok := processAs[Exiter](c.process); ok {
		c.exited = p.Exited()
	}
	if p, ok := processAs[skipTeller](c.process); ok {
		p.onSkip(c.tellSkipped)
	}
	c.requests.begin()
	stdin := c.process.Stdin()
	c.stdin.PumpTo(stdin, func(err error) { c.stdinEnded(stdin, err) })
	whenReady(c.process.Stdout(), func(r io.Reader) { c.carry(r, c.stdout) })
	whenReady(c.process.Stderr(), func(r io.Reader) { c.carry(r, c.stderr) })
}

// tellSkipped tells the client how many bytes it does not get, if there are any. After a resume it is told again. A client that has
// not read pid or resumed yet is told after that.
func (c *conversation) tellSkipped() {
	p, ok := processAs[Skipper](c.process)
	if !ok || !c.knowsGaps {
		return
	}
	c.telling.Lock() // The numbers only grow.
	defer c.telling.Unlock()
	l := c.listener.Load()
	if l == nil {
		return
	}
	if stdout, stderr := p.Skipped(); stdout > 0 || stderr > 0 {
		_ = l.send(proto.Skipped{Stdout: stdout, Stderr: stderr}) // If this fails the connection is lost.
	}
}

// whenReady calls do on a new goroutine when r has bytes to read or has ended. If r can't tell, it calls do at once.
func whenReady(r io.Reader, do func(io.Reader)) {
	if r, ok := r.(interface{ whenReady(do func()) }); ok {
		r.whenReady(func() { do(r.(io.Reader)) })
		return
	}
	go do(r)
}

// carry sends an output. Its goroutine ends when the output ends, which the end of the process's context causes.
func (c *conversation) carry(r io.Reader, s *sender) {
	_, cut, err := s.carry(r)
	if cut != nil {
		c.cut.CompareAndSwap(nil, &cut)
	}
	if err == nil {
		s.end()
	}
	if c.reading.Add(-1) == 0 {
		c.learnExit()
	}
}

// learnExit waits until the process has exited. known is closed then. It waits on a channel and not on a lock: in tests fake time
// stands still while a goroutine waits for a lock.
func (c *conversation) learnExit() {
	if c.learning.Swap(true) {
		<-c.known
		return
	}
	c.exit = c.wait()
	c.release() // Before the client knows: it may start the next command at once.
	close(c.known)
}

// cutShort returns an error if an output was lost before its end, for example because the connection behind it was lost.
// Then the client's output must not look complete.
func (c *conversation) cutShort() error {
	cut := c.cut.Load()
	if cut == nil {
		return nil
	}
	return disconnected(xerrors.Errorf("read output: %w", *cut))
}

// stdinEnded is called when stdin has ended, or when the process takes no more of it.
func (c *conversation) stdinEnded(stdin io.Closer, err error) {
	switch {
	case err == io.EOF:
		if err := stdin.Close(); err != nil {
			c.opts.log().Debug(c.ctx, "close stdin", slog.Error(err))
		}
	case !errors.Is(err, flow.ErrStopped):
		c.opts.log().Debug(c.ctx, "process takes no more stdin", slog.Error(err))
		c.stdin.Discard()
	}
}

// attach lets the conversation flow over a link to a client with these extensions. The client has been sent pid or resumed.
func (c *conversation) attach(l *link, peer *proto.Extensions) {
	c.listener.Store(l)
	c.tellSkipped() // Before the streams, since what they carry may come after a gap.
	c.stdinReceipt.attach(l)
	c.requestReceipt.attach(l)
	c.stdout.attach(l, peer)
	c.stderr.attach(l, peer)
}

// detach stops using a link.
func (c *conversation) detach(l *link) {
	c.listener.CompareAndSwap(l, nil)
	c.stdinReceipt.detach()
	c.requestReceipt.detach()
	c.stdout.detach(l)
	c.stderr.detach(l)
}

// rewind makes the next link carry both outputs from where the client has received them.
func (c *conversation) rewind(m *proto.Resume) error {
	if m.Extensions == nil || m.Extensions.Window < c.window || !m.Extensions.Outcome {
		return protocolErrorf("resume with fewer extensions than start")
	}
	err := c.stdout.rewind(m.Stdout)
	if err == nil {
		err = c.stderr.rewind(m.Stderr)
	}
	if err != nil {
		return &resumeError{kind: proto.ResumeGap, err: err}
	}
	return nil
}

// finish ends the conversation, and the process if it still runs. complete says whether the client has all of it.
func (c *conversation) finish(complete bool) {
	defer close(c.done)
	_, unstarted := errors.AsType[*StartError](c.failed)
	c.server.forgetConversation(c, complete || unstarted)
	c.cancel()
	close(c.over)
	// This is not an end of file. To a session, which continues, that would mean something else.
	c.stdin.Close(flow.ErrStopped)
	switch {
	case c.begun != nil:
		// Ends when the start has failed, or its process has exited.
		go awaitUnwanted(c.begun)
	case c.process != nil:
		c.awaitExit()
	}
	c.stdout.release()
	c.stderr.release()
}

// awaitExit waits for a process whose context has ended, and for the rest of its group. A process that takes too long still
// counts until it has exited.
func (c *conversation) awaitExit() {
	limit := endTimeout
	group, hasGroup := processAs[processGroup](c.process)
	if hasGroup {
		limit += group.endDelay()
	}
	ended := make(chan struct{})
	// Ends when the process and its group have exited.
	go func() {
		defer close(ended)
		c.learnExit()
		if hasGroup {
			group.awaitGroup()
		}
	}()
	select {
	case <-ended:
	case <-time.After(limit):
		c.opts.log().Error(context.Background(), "process did not end with its context", slog.F("pid", c.process.Pid()))
	}
}

// processGroup is a process of this machine whose group may outlive it.
type processGroup interface {
	// endDelay is how long the group has to exit before it is killed.
	endDelay() time.Duration
	// awaitGroup waits until no process of the group is left, or its time is up. The process's context has ended.
	awaitGroup()
}

// endTimeout is how long a process may take to exit after its context has ended, in addition to a LocalExecer's KillDelay.
const endTimeout = 5 * time.Second
