package wsep

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	mathrand "math/rand/v2"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// resumer replaces the lost connections of one process. The goroutine that reads the process's connection owns it.
type resumer struct {
	dial    func(context.Context) (Conn, error)
	encode  func(key *proto.Key) ([]byte, error) // returns the start message
	offered proto.Extensions
	limit   time.Duration         // how long it tries at most
	tell    func(ConnectionEvent) // tells the user; may be nil
	keep    func(*idleConn)       // keeps a connection for the next process, or closes it; nil if none is kept

	key     proto.Key
	attempt int64  // how many resumes were sent under any key
	server  string // the mark of the connection that has carried start under the key, or was to carry it
}

// newKey chooses a new key and returns its start message.
func (r *resumer) newKey() ([]byte, error) {
	_, _ = rand.Read(r.key[:]) // It never fails.
	return r.encode(&r.key)
}

// firstStart returns the first start message. A Server that forwards the conversation has chosen the key; otherwise forwards is
// nil.
func (r *resumer) firstStart(forwards *forwarding) ([]byte, error) {
	if forwards == nil {
		return r.newKey()
	}
	r.key = forwards.key
	r.offered = forwards.offerWithin(r.limit, r.offered.Reuse)
	r.limit = time.Duration(r.offered.Resume) * time.Second
	return r.encode(&r.key)
}

// serverMark returns the mark that the server gave with a connection. It is empty if the connection does not tell.
func serverMark(conn Conn) string {
	if marked, ok := conn.(interface{ ServerMark() string }); ok {
		if mark := marked.ServerMark(); len(mark) <= maxServerMark {
			return mark
		}
	}
	return ""
}

// maxServerMark is how long a mark may be, in bytes.
const maxServerMark = 128

// granted takes what the server has agreed to. It reports whether lost connections may be replaced.
func (r *resumer) granted(peer *proto.Extensions) bool {
	r.limit = min(r.limit, time.Duration(min(peer.Resume, maxResumeSeconds))*time.Second)
	return r.limit > 0 && peer.Window > 0 && peer.Outcome
}

const (
	// minBackoff and maxBackoff bound the pause before the next try. It doubles each time.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
	// answerTimeout is how long a server has to answer resume. Then the connection counts as lost. But a server that gives no
	// mark may be one that does not know resume, and never answers.
	answerTimeout = 10 * time.Second
	// maxResumeSeconds keeps what a server grants within a time.Duration.
	maxResumeSeconds = 1 << 30
)

// ConnectionState is what happened to a process's connection.
type ConnectionState int

const (
	// ConnectionLost says that the connection is lost. The process waits for a new one.
	ConnectionLost ConnectionState = iota
	// ConnectionRetrying says that a new connection is about to be tried.
	ConnectionRetrying
	// ConnectionBack says that the process goes on over a new connection.
	ConnectionBack
)

// ConnectionEvent tells a user interface about a process's connection: see [Dialer.OnConnection].
type ConnectionEvent struct {
	State ConnectionState
	// Err is why the connection is lost, or why the last try failed. It is nil with ConnectionBack.
	Err error
	// Since is when the connection was lost.
	Since time.Time
	// RetryIn is how long it takes until the next try. It is 0 unless State is ConnectionRetrying.
	RetryIn time.Duration
}

func (r *resumer) event(e ConnectionEvent) {
	if r.tell != nil {
		r.tell(e)
	}
}

// comeBack replaces a link that is lost. Its error says why that can't be.
func (p *remoteProcess) comeBack(l *clientLink, lost error) (*clientLink, error) {
	if gone := l.gone.Load(); gone != nil {
		lost = *gone
	}
	if p.final || !p.mayResume(lost) {
		return nil, lost
	}
	p.detach(l)
	next, resumed, err := p.resume(lost)
	if err != nil {
		return nil, err
	}
	if err := p.adopt(next, resumed); err != nil {
		return nil, err
	}
	return next, nil
}

// adopt lets the conversation go on over a link, from where the server has received it.
func (p *remoteProcess) adopt(l *clientLink, resumed *proto.Resumed) error {
	if p.stdin != nil {
		if err := p.stdin.sender.rewind(resumed.Stdin); err != nil {
			return &resumeFailedError{err}
		}
	}
	if err := p.requests.acknowledged(resumed.Seq); err != nil {
		return &resumeFailedError{err}
	}
	l.mark(resumed.Server)
	p.attach(l)
	return nil
}

// mayResume reports whether a connection that was lost for this reason may be replaced.
func (p *remoteProcess) mayResume(lost error) bool {
	return p.resumer != nil && p.ctx.Err() == nil && !isRefusal(lost)
}

// isLoss reports whether the error that came in pid's place is the loss of the connection, and not the server's answer.
func isLoss(err error) bool {
	_, ok := errors.AsType[*disconnectError](err)
	return ok
}

// isRefusal reports whether a connection's end says that no other connection helps: an end of the connection broke the
// protocol, the server forbids it, or another connection has taken over.
func isRefusal(err error) bool {
	if _, broken := errors.AsType[*protocolError](err); broken {
		return true
	}
	switch code, _, _ := peerClose(err); code {
	case statusProtocolError, statusPolicy, statusTooBig, statusTaken:
		return true
	}
	return false
}

// resume makes a new connection and asks the server to go on there. It tries again until its time is over, or the server
// refuses.
func (p *remoteProcess) resume(lost error) (*clientLink, *proto.Resumed, error) {
	r, since := p.resumer, time.Now()
	r.event(ConnectionEvent{State: ConnectionLost, Err: lost, Since: since})
	ctx, cancel := context.WithDeadline(p.ctx, since.Add(r.limit))
	defer cancel()
	pause := firstPause(lost)
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		r.event(ConnectionEvent{State: ConnectionRetrying, Err: lost, Since: since, RetryIn: pause})
		if !sleep(ctx, pause) {
			return nil, nil, p.gaveUp(lost)
		}
		l, resumed, err := p.tryResume(ctx)
		if err == nil {
			r.event(ConnectionEvent{State: ConnectionBack, Since: since})
			return l, resumed, nil
		}
		if ctx.Err() != nil {
			return nil, nil, p.gaveUp(lost)
		}
		if isFinalAnswer(err) {
			return nil, nil, &resumeFailedError{err}
		}
		lost, pause = err, jitter(backoff)
	}
}

// takeLeave tells the server of a process that was given up without a connection that nobody wants the process any more, over
// a new connection. If that can't be made soon, the server ends the process when the time is over that it has granted.
func (p *remoteProcess) takeLeave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		l, _, err := p.tryResume(ctx)
		if err == nil {
			_ = l.conn.Close(statusNormal, "")
			return
		}
		if isFinalAnswer(err) || !sleep(ctx, jitter(backoff)) {
			return
		}
	}
}

// leaveTimeout is how long a client tries to take leave.
const leaveTimeout = 5 * time.Second

// gaveUp returns why a process was not resumed: its time is over, or the conversation is.
func (p *remoteProcess) gaveUp(last error) error {
	if p.ctx.Err() != nil {
		p.away = true
		return last
	}
	return &resumeFailedError{xerrors.Errorf("gave up after %v: %w", p.resumer.limit, last)}
}

// firstPause is how long to wait before the first try. A server that says goodbye is expected back at once.
func firstPause(lost error) time.Duration {
	if code, _, ok := peerClose(lost); ok && (code == statusGoingAway || code == statusRestart) {
		return 0
	}
	return jitter(minBackoff)
}

// jitter returns between half of d and d, so that many clients do not come back at the same moment.
func jitter(d time.Duration) time.Duration { return d/2 + mathrand.N(d/2+1) }

// sleep waits, and reports whether the context has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// isFinalAnswer reports whether the error of a try says that another try does not help.
func isFinalAnswer(err error) bool {
	if _, refused := errors.AsType[*resumeError](err); refused || isRefusal(err) {
		return true
	}
	if errors.Is(err, errNoAnswer) || errors.Is(err, fs.ErrPermission) {
		return true
	}
	// A proxy may answer with any other status while the server restarts.
	_, answered := errors.AsType[*refusedHandshake](err)
	_, failed := errors.AsType[*StartError](err)
	return failed && !answered
}

var errNoAnswer = xerrors.New("server does not answer resume")

// tryResume makes one connection and asks the server there to go on.
func (p *remoteProcess) tryResume(ctx context.Context) (*clientLink, *proto.Resumed, error) {
	conn, err := p.resumer.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	l := p.use(conn)
	asking, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	stop := context.AfterFunc(asking, func() { _ = conn.CloseNow() })
	resumed, err := p.askToResume(l)
	if !stop() && ctx.Err() == nil && serverMark(conn) == "" {
		err = errNoAnswer
	}
	if err != nil {
		p.detach(l)
		return nil, nil, err
	}
	return l, resumed, nil
}

// askToResume asks the server over a link to go on there.
func (p *remoteProcess) askToResume(l *clientLink) (*proto.Resumed, error) {
	r := p.resumer
	r.attempt++
	ask := proto.Resume{
		Key: r.key, Stdout: p.stdout.Received(), Stderr: p.stderr.Received(), Attempt: r.attempt, Extensions: &r.offered,
	}
	if !p.begun {
		ask.Server = r.server
	}
	resumed, err := l.ask(&ask)
	if !p.begun && isUnwilling(err) {
		err = &resumeError{err: err}
	}
	return resumed, err
}

// ask sends resume and waits for the answer.
func (l *clientLink) ask(ask *proto.Resume) (*proto.Resumed, error) {
	if err := l.send(*ask); err != nil {
		return nil, disconnected(xerrors.Errorf("send resume: %w", err))
	}
	for {
		_, msg, err := l.read(proto.StdoutHeader)
		if _, unknown := errors.AsType[proto.UnknownTypeError](err); unknown {
			continue
		}
		if err != nil {
			return nil, disconnected(xerrors.Errorf("read resumed: %w", err))
		}
		switch msg := msg.(type) {
		case proto.Resumed:
			return &msg, nil
		case proto.ResumeError:
			return nil, &resumeError{kind: msg.Kind, never: msg.Never, err: xerrors.New(msg.Message)}
		case proto.StartError:
			return nil, &resumeError{err: startError(&remoteError{kind: msg.Kind, message: msg.Message})}
		default:
			return nil, protocolErrorf("unexpected message before resumed")
		}
	}
}

// isUnwilling interprets an error that came in the place of resumed, from a server that has never said that it knows resume. If
// it has closed the connection, it refuses, unless its code says that it, or a proxy before it, may be back soon.
func isUnwilling(err error) bool {
	code, _, closed := peerClose(err)
	switch code {
	case statusGoingAway, statusRestart, statusTryAgainLater, statusBadGateway:
		return false
	}
	return closed
}

// recoverStart goes on with a start whose answer was lost. The server knows by the key whether the command has started. If
// it says that it never will, the client starts the command again, under a new key.
func (p *remoteProcess) recoverStart(l *clientLink, lost error) (*clientLink, proto.Pid, error) {
	for {
		p.detach(l)
		next, resumed, err := p.resume(lost)
		if err == nil {
			return next, proto.Pid{Pid: resumed.Pid, Session: resumed.Session, Server: resumed.Server, Extensions: resumed.Extensions}, nil
		}
		refused, ok := errors.AsType[*resumeError](err)
		if !ok || !refused.never {
			return nil, proto.Pid{}, startFailed(err)
		}
		var pid proto.Pid
		l, pid, err = p.startAgain()
		if err == nil {
			p.resumer.event(ConnectionEvent{State: ConnectionBack, Since: time.Now()})
		}
		if err == nil || !isLoss(err) || !p.mayResume(err) {
			return l, pid, err
		}
		lost = err
	}
}

// startFailed returns the [StartError] in err, if the server has answered with one.
func startFailed(err error) error {
	if start, ok := errors.AsType[*StartError](err); ok {
		return start
	}
	return err
}

// startAgain starts the command under a new key. It returns the link unless it could not connect.
func (p *remoteProcess) startAgain() (*clientLink, proto.Pid, error) {
	start, err := p.resumer.newKey()
	if err != nil {
		return nil, proto.Pid{}, err
	}
	conn, err := p.resumer.dial(p.ctx)
	if err != nil {
		return nil, proto.Pid{}, err
	}
	l := p.use(conn)
	pid, err := p.handshake(l, start)
	return l, pid, err
}

// resumeFailedError is [ErrResumeFailed] with its cause.
type resumeFailedError struct{ cause error }

func (e *resumeFailedError) Error() string {
	return "connection lost, and not resumed: " + e.cause.Error()
}
func (e *resumeFailedError) Unwrap() error { return e.cause }
func (e *resumeFailedError) Is(target error) bool {
	return target == ErrDisconnected || target == ErrResumeFailed
}
