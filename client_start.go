package wsep

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// How a client starts a command: the start message, the answer, and what both ends agree on.

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
