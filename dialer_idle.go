package wsep

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
	"unsafe"

	"cdr.dev/wsep/internal/idle"
	"cdr.dev/wsep/internal/proto"
)

// How a Dialer keeps connections for later commands. A Dialer is a value, so the program keeps them: see idleConns. Each is read all the time.

const (
	defaultMaxIdle     = 2
	defaultIdleTimeout = 30 * time.Second
	// freshMark is how old a server's mark may be. A start that was lost is repeated only if the server's memory of keys reaches
	// back to the mark: see keyMemory.
	freshMark = 5 * time.Minute
	// trusted is how long after its last message a connection counts as alive without a ping.
	trusted = 3 * time.Second
	// probeTimeout is how long the connections that have rested have to answer a ping, all together.
	probeTimeout = 2 * time.Second
)

// idleConn is a connection that has carried a conversation to its end. Its watcher, a goroutine, reads it while nobody uses it, so
// that pings are answered and its loss is noticed. Whoever uses it next gets the first message from the watcher.
type idleConn struct {
	Conn
	marks           // for the next start
	since time.Time // when it was kept

	mu   sync.Mutex // guards what follows
	used bool       // somebody uses it
	lost bool

	first  chan firstMessage // from the watcher, once it is used
	gotten bool              // the first message was read; owned by the reader
}

type firstMessage struct {
	body io.Reader
	err  error
}

// newIdleConn returns the connection of a link that is no longer used.
func newIdleConn(l *clientLink) *idleConn {
	conn := l.conn
	if before, ok := conn.(*idleConn); ok {
		conn = before.Conn
	}
	return &idleConn{Conn: conn, marks: l.marks, since: time.Now(), first: make(chan firstMessage, 1)}
}

// ServerMark returns the mark that the server gave for the next start.
func (c *idleConn) ServerMark() string { return c.mark }

// Reader implements Conn.
func (c *idleConn) Reader(ctx context.Context) (io.Reader, error) {
	if c.gotten {
		return c.Conn.Reader(ctx)
	}
	select {
	case m := <-c.first:
		c.gotten = true
		return m.body, m.err
	case <-ctx.Done():
		_ = c.CloseNow()
		return nil, ctx.Err()
	}
}

// watch reads the connection until it is used and a message has come, or it is lost. gone is called if it is lost before.
func (c *idleConn) watch(gone func()) {
	for {
		body, err := c.Conn.Reader(context.Background())
		if c.handOver(firstMessage{body, err}) {
			return
		}
		if err == nil {
			err = discardAck(body)
		}
		if err != nil {
			c.mu.Lock()
			c.lost = true
			c.mu.Unlock()
			gone()
			_ = c.Conn.CloseNow()
			c.handOver(firstMessage{nil, err})
			return
		}
	}
}

// discardAck reads a message of the conversation before. An acknowledgment may still have been on its way, and nothing else.
func discardAck(body io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(body, maxNumberMessage+1))
	if err == nil && n > maxNumberMessage {
		return protocolErrorf("message of %d bytes or more between two conversations", n)
	}
	return err
}

// handOver gives a message to the one that uses the connection. It reports whether there is one.
func (c *idleConn) handOver(m firstMessage) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used {
		c.first <- m
	}
	return c.used
}

// Take implements idle.Item. The watcher reads on, so that a ping can be answered before the connection is used.
func (c *idleConn) Take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.lost
}

// use makes the next message its caller's. It returns false if the connection is lost.
func (c *idleConn) use() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = !c.lost
	return c.used
}

// Drop closes the connection, without waiting.
func (c *idleConn) Drop() {
	// Ends within the time that Conn.Close gives the peer.
	go func() { _ = c.Conn.Close(statusNormal, "") }()
}

// sayDone tells the server that the conversation is over.
func (c *idleConn) sayDone() error {
	msg, err := proto.Encode(proto.Done{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastWriteGrace)
	defer cancel()
	return c.Conn.Write(ctx, msg)
}

// doubt watches over a connection while its server has not answered start. The server or the network may be gone, and the connection may
// have been lost without notice while it rested. A server that gives no mark may be one that can't answer pings before it has started
// the command, and is not asked. doubt returns what ends that.
func (p *remoteProcess) doubt(l *clientLink) (end func()) {
	interval := p.pinging
	if _, rested := l.conn.(*idleConn); rested {
		interval = min(interval, doubtInterval)
	} else if serverMark(l.conn) == "" {
		interval = -1
	}
	if interval < 0 {
		return func() {}
	}
	ctx, end := context.WithCancel(l.used)
	l.keepAlive(ctx, interval, false, 0, l.giveUp)
	return end
}

// doubtInterval is how often a server is pinged that does not answer start over a connection that has rested.
const doubtInterval = 5 * time.Second

// answers reports whether the server is there. For as long as the trust lasts it does not ask.
func (c *idleConn) answers(ctx context.Context, trust time.Duration) bool {
	return time.Since(c.since) < trust || c.Conn.Ping(ctx) == nil
}

// idleConns are the program's connections that are kept for later commands.
var idleConns = idle.NewPool[peer, *idleConn]()

// peer tells which Dialers can share connections.
type peer struct {
	url, handshake string
	client         *http.Client
	dial           unsafe.Pointer // of Dialer.Dial: one function value, with what it has captured
}

func (d Dialer) peer() peer {
	return peer{
		url:       d.URL,
		handshake: fmt.Sprintf("%q %q", d.Subprotocols, d.Header), // Maps are printed in the order of their keys.
		client:    d.HTTPClient,
		dial:      *(*unsafe.Pointer)(unsafe.Pointer(&d.Dial)),
	}
}

// maxIdle returns how many connections are kept.
func (d Dialer) maxIdle() int {
	if d.MaxIdle != 0 || d.isPlain() {
		if d.MaxIdle == 0 {
			return defaultMaxIdle
		}
		return d.MaxIdle
	}
	return 0
}

// isPlain reports whether the handshake is the same for every start.
func (d Dialer) isPlain() bool {
	if d.Dial != nil {
		return false
	}
	client := d.HTTPClient
	if client == nil {
		client = http.DefaultClient
	}
	_, plain := client.Transport.(*http.Transport)
	return client.Jar == nil && (client.Transport == nil || plain)
}

// connection returns a connection for a command: one that was kept, or a new one. One that has rested for longer than the trust lasts
// must answer a ping.
func (d Dialer) connection(ctx context.Context, r *resumer, trust time.Duration) (Conn, error) {
	if c := d.kept(ctx, r, trust); c != nil {
		return c, nil
	}
	return r.dial(ctx)
}

// kept returns a connection that was kept, or nil if there is none.
func (d Dialer) kept(ctx context.Context, r *resumer, trust time.Duration) Conn {
	probing, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for r.keep != nil && ctx.Err() == nil {
		c, ok := idleConns.Take(d.peer())
		if !ok {
			break
		}
		if c.answers(probing, trust) && c.use() {
			return c
		}
		_ = c.CloseNow()
	}
	return nil
}

// keepIdle tells the server that a conversation is over, and keeps the connection for the next.
func (d Dialer) keepIdle(c *idleConn) {
	if time.Since(c.given) > freshMark || c.sayDone() != nil || !idleConns.Put(d.peer(), c, d.maxIdle(), d.idleTimeout()) {
		c.Drop()
		return
	}
	// Ends when the connection is used and a message comes, or when it is closed.
	go c.watch(func() { idleConns.Remove(d.peer(), c) })
}

func (d Dialer) idleTimeout() time.Duration {
	if d.IdleTimeout <= 0 {
		return defaultIdleTimeout
	}
	return d.IdleTimeout
}

// CloseIdleConnections closes the connections that are kept for commands of this Dialer. Those in use are not affected, and may be
// kept later.
func (d Dialer) CloseIdleConnections() { idleConns.Clear(d.peer()) }
