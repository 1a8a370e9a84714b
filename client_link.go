package wsep

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/wsep/internal/wsconn"
)

// clientLink is a client's end of a connection.
type clientLink struct {
	link
	used    context.Context // ends when the conversation no longer uses the connection
	endUse  context.CancelFunc
	gone    atomic.Pointer[error] // why the client gave the connection up; nil if it did not
	marks   marks                 // for the connection's next start
	closing sync.Once
	leaving atomic.Bool   // the conversation has ended here: the connection is being closed, or carries another
	closed  chan struct{} // closed when close has closed the connection
}

// marks is a server's mark, and when it was given.
type marks struct {
	mark  string
	given time.Time
}

// mark takes the server's mark for the connection's next start.
func (l *clientLink) mark(mark string) {
	if len(mark) <= maxServerMark {
		l.marks = marks{mark, time.Now()}
	}
}

// newClientLink returns the link over a new connection. It is used until ctx ends at most.
func newClientLink(ctx context.Context, conn Conn) *clientLink {
	l := &clientLink{link: link{conn: conn}, closed: make(chan struct{})}
	l.failed = func(error) { l.cut() }
	l.used, l.endUse = context.WithCancel(ctx)
	conn.SetReadLimit(defaultMaxMessage)
	return l
}

// use makes a new connection the conversation's.
func (p *remoteProcess) use(conn Conn) *clientLink {
	l := newClientLink(p.ctx, conn)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = l
	return l
}

// current returns the link in use, or nil.
func (p *remoteProcess) current() *clientLink {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link
}

// attach lets the conversation flow over a link.
func (p *remoteProcess) attach(l *clientLink) {
	l.sent = func() { p.requests.stdinSent(&l.link) }
	if p.peer.Window > 0 && p.pinging > 0 {
		// A server with flow control always reads, so it always answers pings.
		l.keepAlive(l.used, p.pinging, false, 0, l.giveUp)
	}
	p.stdoutReceipt.attach(&l.link)
	p.stderrReceipt.attach(&l.link)
	p.requests.attach(&l.link)
	if p.stdin != nil {
		l.setZeroMask(p.peer.ZeroMask)
		p.stdin.sender.attach(&l.link, &p.peer)
	}
}

// setZeroMask says whether the server lets large messages be masked with zero.
func (l *clientLink) setZeroMask(may bool) {
	conn := l.conn
	if rested, ok := conn.(*idleConn); ok {
		conn = rested.Conn
	}
	if conn, ok := conn.(*wsconn.CoderConn); ok {
		conn.SetZeroMask(may)
	}
}

// giveUp closes a connection whose server does not answer. The reader notices.
func (l *clientLink) giveUp(err error) {
	l.gone.CompareAndSwap(nil, &err)
	l.cut()
}

// cut closes the connection without a word. The reader notices. Once the conversation has ended here, its last writes and pings
// fail. Then cut does nothing. The connection may carry another conversation. Or [Conn.Close] is closing it, and the server is
// still to read the close frame.
func (l *clientLink) cut() {
	if !l.leaving.Load() {
		_ = l.conn.CloseNow()
	}
}

// detach stops using a link.
func (p *remoteProcess) detach(l *clientLink) {
	p.unuse(l)
	_ = l.conn.CloseNow()
}

// unuse stops using a link, and leaves its connection open.
func (p *remoteProcess) unuse(l *clientLink) {
	l.endUse()
	l.setZeroMask(false)
	p.stdoutReceipt.detach()
	p.stderrReceipt.detach()
	if p.stdin != nil {
		p.stdin.sender.detach(&l.link) // Before the requests: a resize that is not sent any more holds nothing back.
	}
	p.requests.detach(&l.link)
	p.mu.Lock()
	p.link = nil
	p.mu.Unlock()
}

// part ends the conversation's time with a link whose last message has come. If the connection can carry another conversation it
// is kept for that. Otherwise it is closed.
func (p *remoteProcess) part(l *clientLink) {
	if !p.mayKeep(l) || !l.tryLeave() {
		l.close(p.lasting.Load())
		return
	}
	l.closing.Do(func() {
		p.unuse(l)
		close(l.closed)
		p.resumer.keep(newIdleConn(l))
	})
}

// tryLeave makes this conversation write nothing more, so that the connection can carry another. While a write is under
// way it returns false: then the connection must be closed.
func (l *clientLink) tryLeave() bool {
	l.leaving.Store(true)
	return l.tryEndWrites()
}

// mayKeep reports whether the server lets the connection carry another conversation, and the Dialer wants that. A server that does
// has given a mark.
func (p *remoteProcess) mayKeep(l *clientLink) bool {
	return l.marks.mark != "" && p.resumer != nil && p.resumer.keep != nil && p.ctx.Err() == nil
}

// close closes the connection with 1000, which tells the server that the client wants no more. A server that
// waits for its clients, as lasting says, must be told. close does not wait until the connection is closed.
func (l *clientLink) close(lasting bool) {
	l.closing.Do(func() {
		// Ends within the time that [Conn.Close] gives the peer.
		go func() {
			defer close(l.closed)
			if l.life.writing.Load() != 0 && !lasting {
				// A close frame would wait behind the message that is being written. The peer may never read that.
				_ = l.conn.CloseNow()
				return
			}
			l.leaving.Store(true)
			_ = l.conn.Close(statusNormal, "")
		}()
	})
}
