package wsep

import (
	"context"
	"errors"
	"io"
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
	start, err := encodeStart(c)
	if err != nil {
		return nil, &StartError{err}
	}
	if r.used.Swap(true) {
		return nil, ErrInUse
	}
	return startRemote(ctx, r.conn, c, start)
}

// startRemote starts a command over a connection and owns the connection from then on. start is the encoded command.
func startRemote(ctx context.Context, conn Conn, c Command, start []byte) (Process, error) {
	p := newRemoteProcess(conn, c)
	if err := p.start(ctx, start); err != nil {
		return nil, err
	}
	return p, nil
}

// offer holds the extensions that this version's client offers.
var offer = proto.Extensions{Window: defaultWindow, MaxMessage: defaultMaxMessage, Signal: true, Outcome: true}

func encodeStart(c Command) ([]byte, error) {
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
		Extensions: &offer,
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

// validUTF8 refuses strings that JSON would change.
func validUTF8(c Command) error {
	for _, s := range slices.Concat([]string{c.ID, c.Command, c.WorkingDir}, c.Args, c.Env) {
		if !utf8.ValidString(s) {
			return xerrors.Errorf("%q is not valid UTF-8, which the protocol requires: %w", s, ErrInvalidCommand)
		}
	}
	return nil
}

// remoteProcess is a process at the peer's end of a connection.
type remoteProcess struct {
	link
	command Command
	pid     int
	peer    proto.Extensions // what the server agreed to

	stdin          *remoteStdin // nil if the command has none
	stdout, stderr *flow.Buffer

	resultOnce sync.Once
	done       chan struct{} // closed when result is set
	result     error

	overOnce sync.Once
	ctx      context.Context // ends when the conversation is over; done may be closed earlier
	end      context.CancelFunc

	closeConnOnce sync.Once
	closeOnce     sync.Once
}

func newRemoteProcess(conn Conn, c Command) *remoteProcess {
	p := &remoteProcess{
		link:    link{conn: conn},
		command: c,
		stdout:  flow.NewBuffer(defaultWindow),
		stderr:  flow.NewBuffer(defaultWindow),
		done:    make(chan struct{}),
	}
	p.ctx, p.end = context.WithCancel(context.Background())
	if c.Stdin {
		p.stdin = newRemoteStdin(p)
	}
	return p
}

// start sends the start message, waits for the answer and begins to serve the connection.
func (p *remoteProcess) start(ctx context.Context, start []byte) error {
	stop := context.AfterFunc(ctx, func() { p.abort(ctx.Err()) })
	pid, err := p.handshake(start)
	if err != nil {
		stop()
		p.abort(err)
		if ctx.Err() != nil {
			return disconnected(ctx.Err())
		}
		return err
	}
	p.pid = pid.Pid
	p.agree(pid.Extensions)
	// Ends with the connection. The end of the caller's context closes the connection at the latest.
	go func() {
		defer stop()
		p.read()
	}()
	if p.peer.Window > 0 {
		// A server with flow control always reads, so it always answers pings.
		p.keepAlive(p.ctx, defaultKeepAlive, false, 0, p.abort)
	}
	return nil
}

// handshake sends the start message. It waits for the answer, or until the conversation is aborted.
func (p *remoteProcess) handshake(start []byte) (proto.Pid, error) {
	var pid proto.Pid
	answered := make(chan error, 1)
	// Ends when the connection is closed at the latest. After an abort that may take a while.
	go func() {
		var err error
		pid, err = p.exchange(start)
		answered <- err
	}()
	select {
	case err := <-answered:
		return pid, err
	case <-p.ctx.Done():
		return proto.Pid{}, p.result
	}
}

func (p *remoteProcess) exchange(start []byte) (proto.Pid, error) {
	p.conn.SetReadLimit(defaultMaxMessage)
	if err := p.write(start); err != nil {
		return proto.Pid{}, disconnected(xerrors.Errorf("send start: %w", err))
	}
	return p.readPid()
}

// readPid waits for the answer to start.
func (p *remoteProcess) readPid() (proto.Pid, error) {
	for {
		_, msg, err := p.link.read(proto.StdoutHeader)
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
func (p *remoteProcess) agree(peer *proto.Extensions) {
	if peer != nil {
		p.peer = *peer
	}
	if p.peer.Window > 0 {
		p.stdout.Strict, p.stderr.Strict = true, true
		p.stdout.Consumed = flow.NewReceipts(defaultWindow, p.newAckSender(proto.TypeStdout).send).Add
		p.stderr.Consumed = flow.NewReceipts(defaultWindow, p.newAckSender(proto.TypeStderr).send).Add
	}
	if p.stdin != nil {
		p.stdin.sender.limit = sizeLimit(&p.peer)
		p.stdin.sender.credit = flow.NewCredit(p.peer.Window)
	}
}

// read serves the connection until the conversation is over or the connection is lost. It owns the receiving side.
func (p *remoteProcess) read() {
	if err := p.readMessages(); err != nil {
		p.abort(err)
		return
	}
	p.endConversation(io.EOF)
	p.awaitWrite()
	p.closeConn()
}

// awaitWrite waits until a write to stdin that has begun is done. The process may have read those bytes before it exited.
func (p *remoteProcess) awaitWrite() {
	if p.stdin == nil {
		return
	}
	written := make(chan struct{})
	// Ends with the write. Closing the connection ends the write.
	go func() {
		p.stdin.mu.Lock()
		defer p.stdin.mu.Unlock()
		close(written)
	}()
	await(written, nil, lastWriteGrace)
}

// lastWriteGrace is how long a write may delay the closing of a connection.
const lastWriteGrace = time.Second

func (p *remoteProcess) readMessages() error {
	for {
		data, msg, err := p.link.read(proto.StdoutHeader)
		if _, unknown := errors.AsType[proto.UnknownTypeError](err); unknown {
			continue
		}
		if err != nil {
			return err
		}
		switch msg := msg.(type) {
		case nil:
			err = p.receive(data)
		case *proto.Ack:
			if p.stdin != nil {
				err = p.stdin.sender.credit.Ack(msg.Stdin)
			}
		case proto.ExitCode:
			if !p.peer.Outcome {
				msg.Signal = proto.OldSignal(msg)
			}
			p.setResult(outcomeError(msg))
			if !msg.Pending {
				return nil
			}
		case proto.End:
			p.setResult(disconnected(protocolErrorf("end without an exit code")))
			return nil
		}
		if err != nil {
			return violation(err)
		}
	}
}

func (p *remoteProcess) receive(data bulk) error {
	switch data.stream {
	case proto.TypeStdout:
		return p.stdout.Fill(data.body, p.ctx.Done())
	case proto.TypeStderr:
		return p.stderr.Fill(data.body, p.ctx.Done())
	}
	_, err := io.Copy(io.Discard, data.body)
	return err
}

// setResult records what Wait returns. Only the first call counts.
func (p *remoteProcess) setResult(err error) {
	p.resultOnce.Do(func() {
		p.result = err
		close(p.done)
		if p.stdin != nil {
			p.stdin.shut()
		}
	})
}

// endConversation makes the conversation over. Readers of the outputs get end after the last byte.
func (p *remoteProcess) endConversation(end error) {
	p.overOnce.Do(func() {
		p.stdout.Close(end)
		p.stderr.Close(end)
		p.end()
	})
}

// abort ends the conversation early. If the process still runs, the server ends it.
func (p *remoteProcess) abort(err error) {
	err = disconnected(err)
	p.setResult(err)
	// The output is incomplete, and must not look as if it had ended.
	p.endConversation(err)
	p.closeConn()
}

// closeConn closes the connection. It does not wait until it is closed.
func (p *remoteProcess) closeConn() {
	p.closeConnOnce.Do(func() {
		// Ends within the time that [Conn.Close] gives the peer.
		go func() {
			if p.life.writing.Load() != 0 {
				// A close frame would wait behind the message that is being written. The peer may never read that.
				_ = p.conn.CloseNow()
				return
			}
			_ = p.conn.Close(statusNormal, "")
		}()
	})
}

// Pid implements Process.
func (p *remoteProcess) Pid() int { return p.pid }

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

// request sends a message to the server, if the process has not exited. When the context ends request returns, but the
// message is still sent: interrupting a write would cost the connection.
func (p *remoteProcess) request(ctx context.Context, m any) error {
	if isClosed(p.done) {
		return p.doneError()
	}
	sent := make(chan error, 1)
	// Ends when the message is written or the connection is closed.
	go func() { sent <- p.link.send(m) }()
	select {
	case err := <-sent:
		if err != nil {
			return disconnected(err)
		}
		return nil
	case <-p.done:
		return p.doneError()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// doneError returns why a process with a result takes no more requests. A process whose connection was lost may still run.
func (p *remoteProcess) doneError() error {
	if errors.Is(p.result, ErrDisconnected) {
		return p.result
	}
	return errProcessDone
}
