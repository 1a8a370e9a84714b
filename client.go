package wsep

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/xerrors"
	"nhooyr.io/websocket"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// RemoteExecer returns an [Execer] that runs one command over the connection, at the peer's end of it.
//
// From the first Start on, the Execer owns the connection: do not read from it, write to it or close it. The Execer closes
// it when the start fails, when the process has exited and its output has ended, or when Start's context ends. A second
// Start returns [ErrInUse]. Use a [Dialer] to run many commands. The Execer is safe for concurrent use.
func RemoteExecer(conn *websocket.Conn) Execer { return RemoteExecerConn(websocketConn(conn)) }

// RemoteExecerConn is [RemoteExecer] for any [Conn].
func RemoteExecerConn(conn Conn) Execer { return &remoteExecer{conn: conn} }

type remoteExecer struct {
	conn Conn
	used atomic.Bool
}

// KeepsSessions implements [SessionKeeper].
func (*remoteExecer) KeepsSessions() bool { return true }

// Start implements Execer.
func (r *remoteExecer) Start(ctx context.Context, c Command) (Process, error) {
	start, err := encodeStart(c, &offer, nil)
	if err != nil {
		return nil, &StartError{err}
	}
	if r.used.Swap(true) {
		return nil, ErrInUse
	}
	p := newRemoteProcess(c, nil)
	if err := p.start(ctx, r.conn, start); err != nil {
		return nil, err
	}
	return p, nil
}

// offer holds the extensions that this version's client offers. A client that can dial offers Resume too.
var offer = proto.Extensions{Window: defaultWindow, MaxMessage: defaultMaxMessage, Signal: true, Outcome: true, Session: true}

// encodeStart returns the start message for a command. key is nil for a client that can't resume.
func encodeStart(c Command, offered *proto.Extensions, key *proto.Key) ([]byte, error) {
	if err := validUTF8(c); err != nil {
		return nil, err
	}
	rows, cols := c.Rows, c.Cols
	if c.TTY {
		rows, cols = c.size() // A v0.2.4 server refuses a terminal without a size.
	}
	msg, err := proto.Encode(proto.Start{
		ID: c.ID,
		Command: proto.Command{
			Command:    c.Command,
			Args:       c.Args,
			Stdin:      &c.Stdin,
			TTY:        c.TTY,
			Rows:       rows,
			Cols:       cols,
			UID:        c.UID,
			GID:        c.GID,
			Env:        c.Env,
			WorkingDir: c.WorkingDir,
		},
		Scrollback: c.Scrollback,
		Key:        key,
		Extensions: withKeep(offered, c),
	})
	if err != nil {
		return nil, err
	}
	if len(msg) > proto.MaxMessage {
		return nil, xerrors.Errorf("arguments and environment make a message of %d bytes, peers take %d: %w",
			len(msg), proto.MaxMessage, ErrInvalidCommand)
	}
	return msg, nil
}

// withKeep returns what is offered for a command.
func withKeep(offered *proto.Extensions, c Command) *proto.Extensions {
	if !c.isKept() || offered == nil {
		return offered
	}
	kept := *offered
	kept.Keep = int64(math.Ceil(c.Keep.Seconds()))
	return &kept
}

// validUTF8 refuses strings that JSON would change.
func validUTF8(c Command) error {
	for _, s := range slices.Concat([]string{c.ID, c.Command, c.WorkingDir}, c.Args, c.Env) {
		if !utf8.ValidString(s) {
			return xerrors.Errorf("%q is not valid UTF-8, which the protocol requires: %w", s, ErrInvalidCommand)
		}
	}
	return nil
}

// remoteProcess is a process at a server. It is the client's end of the conversation about it, over whatever connection
// that goes.
//
// The reader, one goroutine, owns the receiving side. It reads the connection, and replaces a connection that is lost.
// Callers send for themselves.
type remoteProcess struct {
	command Command
	pid     int
	session SessionOrigin
	gaps
	begun   bool             // the server has answered start; owned by start
	peer    proto.Extensions // what the server agreed to
	resumer *resumer         // replaces lost connections; nil if nothing does
	pinging time.Duration    // how often a silent server is pinged; not at all if negative
	lasting atomic.Bool      // the server may wait for this client when the connection is lost
	window  int64            // what was offered for each output
	held    bool             // a Server decides what becomes of the connection once start has returned: see forwarding

	stdin                        *remoteStdin // nil if the command has none
	stdout, stderr               *flow.Buffer
	stdoutReceipt, stderrReceipt receipt
	requests                     *clientRequests

	mu   sync.Mutex  // guards link, which only the reader, and start before it, set
	link *clientLink // nil while there is no connection

	unbind func() bool // detaches the process from Start's context

	resultOnce sync.Once
	done       chan struct{} // closed when result is set
	result     error
	exit       error // what result will be; owned by the reader, as are final and away
	final      bool  // the server has said that it ends the conversation
	away       bool  // the conversation was over while there was no connection

	overOnce sync.Once
	ctx      context.Context // ends when the conversation is over; done may be closed earlier
	end      context.CancelFunc

	closeOnce sync.Once
}

func newRemoteProcess(c Command, r *resumer) *remoteProcess {
	p := &remoteProcess{
		command:       c,
		resumer:       r,
		pinging:       defaultKeepAlive,
		window:        defaultWindow,
		stdout:        flow.NewBuffer(defaultWindow),
		stderr:        flow.NewBuffer(defaultWindow),
		stdoutReceipt: receipt{field: proto.TypeStdout},
		stderrReceipt: receipt{field: proto.TypeStderr},
		requests:      newClientRequests(),
		done:          make(chan struct{}),
	}
	p.lasting.Store(r != nil)
	p.ctx, p.end = context.WithCancel(context.Background())
	if c.Stdin {
		p.stdin = newRemoteStdin(p)
	}
	return p
}

// start sends the start message over a connection, waits for the answer and begins to serve the connection, which it owns.
func (p *remoteProcess) start(ctx context.Context, conn Conn, start []byte) error {
	stop := context.AfterFunc(ctx, func() { p.startEnded(ctx) })
	l := p.use(conn)
	if err := ctx.Err(); err != nil {
		stop()
		p.abort(err)
		return &StartError{err} // Nothing was sent.
	}
	pid, err := p.handshake(l, start)
	if isLoss(err) && !p.held && p.mayResume(err) {
		l, pid, err = p.recoverStart(l, err)
	}
	if err != nil {
		stop()
		p.abort(err)
		if p.away {
			// Ends after leaveTimeout.
			go p.takeLeave()
		}
		if ctx.Err() != nil {
			return disconnected(ctx.Err())
		}
		return err
	}
	p.pid, p.session, p.begun = pid.Pid, originOf(pid.Session), true
	l.mark(pid.Server)
	if pid.Extensions != nil {
		p.peer = *pid.Extensions
	}
	p.unbind = stop
	if !p.held {
		p.begin(l)
	}
	return nil
}

// begin begins to serve the connection on which the process was started.
func (p *remoteProcess) begin(l *clientLink) {
	p.agree()
	p.attach(l)
	// Ends when the conversation is over, or leaveTimeout later. The end of the caller's context makes it over at the latest.
	go func() {
		defer p.unbind()
		p.read(l)
	}()
}

// startEnded acts on the end of Start's context. If that is the end of a Server that forwards the conversation, the peer
// waits for the client.
func (p *remoteProcess) startEnded(ctx context.Context) {
	if l := p.current(); l != nil && p.held && context.Cause(ctx) == errServerClosing {
		_ = l.conn.CloseNow()
	}
	p.abort(ctx.Err())
}

// handshake sends the start message. It waits for the answer, or until the conversation is aborted.
func (p *remoteProcess) handshake(l *clientLink, start []byte) (proto.Pid, error) {
	if p.resumer != nil {
		p.resumer.server = serverMark(l.conn)
	}
	return unlessAborted(p, func() (proto.Pid, error) {
		if err := l.write(start); err != nil {
			return proto.Pid{}, disconnected(xerrors.Errorf("send start: %w", err))
		}
		defer p.doubt(l)()
		return readPid(l)
	})
}

// unlessAborted returns what do returns, or the process's result if the conversation is aborted before.
func unlessAborted[T any](p *remoteProcess, do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	// Ends when the connection is closed at the latest. After an abort that may take a while.
	go func() {
		value, err := do()
		answered <- answer{value, err}
	}()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-p.ctx.Done():
		var none T
		return none, p.result
	}
}

// readPid waits for the answer to start.
func readPid(l *clientLink) (proto.Pid, error) {
	for {
		_, msg, err := l.read(proto.StdoutHeader)
		if _, unknown := errors.AsType[proto.UnknownTypeError](err); unknown {
			continue
		}
		if err != nil {
			return proto.Pid{}, startFailure(err)
		}
		switch msg := msg.(type) {
		case proto.Pid:
			return msg, nil
		case proto.StartError:
			return proto.Pid{}, startError(&remoteError{kind: msg.Kind, message: msg.Message})
		case *proto.Ack:
			if _, reused := l.conn.(*idleConn); reused {
				continue // It belongs to the conversation before.
			}
			return proto.Pid{}, disconnected(protocolErrorf("ack before pid"))
		default:
			return proto.Pid{}, disconnected(protocolErrorf("unexpected message before pid"))
		}
	}
}

// startError returns what Start returns for a reason that the server gave. If the server lost a connection behind it, the
// command may have started.
func startError(reason error) error {
	if errors.Is(reason, ErrDisconnected) {
		return reason
	}
	return &StartError{reason}
}

// startFailure interprets an error that came in pid's place. A server without start_error closes the connection, and its
// close frame says that the command did not start, and why. Any other close frame may be a proxy's: then it is unknown
// whether the command started.
func startFailure(err error) error {
	code, reason, _ := peerClose(err)
	reason, failed := cutStartFailed(reason)
	switch {
	case !failed || code == statusGoingAway:
		return disconnected(xerrors.Errorf("read pid: %w", err))
	case code == statusTryAgainLater:
		return &StartError{&remoteError{kind: "busy", message: reason}}
	}
	return &StartError{&refusal{reason: reason, cause: err}}
}

// cutStartFailed returns a close frame's reason without its prefix. The prefix says that the command did not start.
func cutStartFailed(reason string) (string, bool) {
	for _, prefix := range []string{startErrorPrefix, "start command with pty: "} { // The second is v0.2.4's, for terminals.
		if rest, ok := strings.CutPrefix(reason, prefix); ok {
			return rest, true
		}
	}
	return reason, false
}

// refusal is the reason of a close frame that came in pid's place. Its text is no longer than the reason, so it fits the
// close frame of the next hop.
type refusal struct {
	reason string
	cause  error
}

func (e *refusal) Error() string { return e.reason }
func (e *refusal) Unwrap() error { return e.cause }

// agree sets up what the server agreed to.
func (p *remoteProcess) agree() {
	quiet := time.Duration(0)
	if p.resumer != nil && !p.resumer.granted(&p.peer) {
		p.resumer = nil
		p.lasting.Store(false)
	}
	if p.resumer != nil {
		quiet = quietAck
		p.requests.numbered = true
	}
	if p.stdin != nil && p.resumer != nil {
		p.stdin.sender.lasting = true
		p.stdin.sender.before = p.requests.awaitSizes
	} else if p.stdin != nil {
		p.stdin.sender.forget()
	}
	if p.peer.Window > 0 {
		p.stdout.Strict, p.stderr.Strict = true, true
		p.stdout.Consumed = flow.NewReceipts(p.window, quiet, p.stdoutReceipt.send).Add
		p.stderr.Consumed = flow.NewReceipts(p.window, quiet, p.stderrReceipt.send).Add
	}
}

// Pid implements Process.
func (p *remoteProcess) Pid() int { return p.pid }

// Session implements [Sessioner].
func (p *remoteProcess) Session() SessionOrigin { return p.session }

// keptFor implements keptProcess.
func (p *remoteProcess) keptFor() int64 { return p.peer.Keep }

// Stdin implements Process.
func (p *remoteProcess) Stdin() io.WriteCloser {
	if p.stdin == nil {
		return disabledStdin{}
	}
	return p.stdin
}

// Stdout implements Process.
func (p *remoteProcess) Stdout() io.Reader { return p.stdout }

// Stderr implements Process.
func (p *remoteProcess) Stderr() io.Reader { return p.stderr }

// Resize implements Process.
func (p *remoteProcess) Resize(ctx context.Context, rows, cols uint16) error {
	if !p.command.TTY {
		return nil
	}
	return p.request(ctx, proto.Resize{Rows: rows, Cols: cols})
}

// Signal implements Signaler.
func (p *remoteProcess) Signal(ctx context.Context, signal string) error {
	if isClosed(p.done) {
		return p.doneError()
	}
	if !p.peer.Signal {
		return xerrors.Errorf("signal %s: peer does not take signals: %w", signal, errors.ErrUnsupported)
	}
	if err := checkSignal(signal); err != nil {
		return err
	}
	return p.request(ctx, proto.Signal{Signal: signal})
}

// Exited implements [Exiter].
func (p *remoteProcess) Exited() <-chan struct{} { return p.done }

// Wait implements Process.
func (p *remoteProcess) Wait() error {
	<-p.done
	return p.result
}

// remoteCloseTimeout is how long after Close the server has to end the process, including the server's own grace.
const remoteCloseTimeout = 10 * time.Second

// Close implements Process. It does not wait for the server.
func (p *remoteProcess) Close() error {
	if isClosed(p.done) {
		// Unread output keeps the connection open.
		p.abort(errClosed)
		return nil
	}
	p.closeOnce.Do(func() {
		if !p.peer.Signal {
			p.abort(errClosed)
			return
		}
		// Ends when the process exits or after remoteCloseTimeout.
		go func() {
			t := time.AfterFunc(remoteCloseTimeout, func() { p.abort(errClosed) })
			defer t.Stop()
			_ = p.request(context.Background(), proto.Close{})
			<-p.done
		}()
	})
	return nil
}

var errClosed = xerrors.New("process was closed")

// doneError returns why a process with a result takes no more requests. A process whose connection was lost may still run.
func (p *remoteProcess) doneError() error {
	if errors.Is(p.result, ErrDisconnected) {
		return p.result
	}
	return errProcessDone
}
