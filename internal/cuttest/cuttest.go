// Package cuttest has a proxy that cuts connections, for tests of what survives that.
package cuttest

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How says how a connection is cut.
type How int

const (
	// Never lets the connection live.
	Never How = iota
	// Reset ends both halves with a TCP reset.
	Reset
	// Close ends both halves in order, without a word of WebSocket.
	Close
	// Swallow carries nothing any more in both directions, though both halves stay open.
	Swallow
	// HalfOpen carries nothing any more in the direction of the cut. The other direction goes on.
	HalfOpen
)

// Plan says where a connection is cut.
type Plan struct {
	How How
	// Up says that the bytes from the client are counted. Otherwise those from the server are.
	Up bool
	// After is how many bytes of that direction are carried before the cut, not counting the HTTP handshake.
	After int64
	// Piece is how many bytes are carried at a time. 0 means as many as there are.
	Piece int
}

// Proxy carries TCP connections to a server.
type Proxy struct {
	target   func() string
	plan     func() Plan
	listener net.Listener
	all      sync.WaitGroup
	cuts     atomic.Int64
	made     atomic.Int64
	answered atomic.Int64

	mu    sync.Mutex // guards lines
	lines map[*line]bool
}

// New returns a proxy for the server at a URL. It asks plan about each connection. The test's end closes it.
func New(t testing.TB, url string, plan func() Plan) *Proxy {
	t.Helper()
	return NewTo(t, func() string { return url }, plan)
}

// NewTo is New for a server that may change: the proxy asks for its URL for each connection.
func NewTo(t testing.TB, url func() string, plan func() Plan) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: url, plan: plan, listener: listener, lines: map[*line]bool{}}
	p.all.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// URL returns the proxy's address.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Cuts returns how many connections were cut by their plan.
func (p *Proxy) Cuts() int64 { return p.cuts.Load() }

// Connections returns how many connections were made.
func (p *Proxy) Connections() int64 { return p.made.Load() }

// Answered returns how many bytes servers have sent over all connections, not counting the HTTP handshakes.
func (p *Proxy) Answered() int64 { return p.answered.Load() }

// CutAll cuts all connections now.
func (p *Proxy) CutAll(how How) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.lines {
		l.cut(how)
	}
}

// Stop takes no more connections.
func (p *Proxy) Stop() { _ = p.listener.Close() }

// close waits until all connections have ended, and cuts the ones that take too long.
func (p *Proxy) close() {
	_ = p.listener.Close()
	slow := time.AfterFunc(closeGrace, func() { p.CutAll(Close) })
	defer slow.Stop()
	p.all.Wait()
}

// closeGrace is how long connections have to end by themselves.
const closeGrace = 2 * time.Second

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", strings.TrimPrefix(p.target(), "http://"))
		if err != nil {
			_ = client.Close()
			continue
		}
		p.made.Add(1)
		l := &line{plan: p.plan(), client: client.(*net.TCPConn), server: server.(*net.TCPConn)}
		p.mu.Lock()
		p.lines[l] = true
		p.mu.Unlock()
		p.all.Go(func() { p.serve(l) })
	}
}

// serve carries a connection until it ends.
func (p *Proxy) serve(l *line) {
	var both sync.WaitGroup
	both.Go(func() { l.carry(l.server, l.client, true, &p.cuts, new(atomic.Int64)) })
	both.Go(func() { l.carry(l.client, l.server, false, &p.cuts, &p.answered) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.lines, l)
}

// line is a connection through the proxy.
type line struct {
	plan           Plan
	client, server *net.TCPConn
	mute           atomic.Bool // carries nothing any more
}

func (l *line) cut(how How) {
	switch how {
	case Never:
		return
	case Swallow:
		l.mute.Store(true)
		return
	case Reset:
		_ = l.client.SetLinger(0)
		_ = l.server.SetLinger(0)
	}
	_ = l.client.Close()
	_ = l.server.Close()
}

// carry carries one direction until it is cut or ends. It adds the bytes behind the handshake to carried.
func (l *line) carry(to, from *net.TCPConn, up bool, cuts, carried *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	if l.plan.Piece > 0 {
		buf = buf[:l.plan.Piece]
	}
	left := int64(-1) // never cut here
	if l.plan.How != Never && l.plan.Up == up {
		left = l.plan.After
	}
	var shaken handshake
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p := buf[:n]
		body := shaken.skip(p)
		if cutsHere := left >= 0 && int64(len(body)) > left; cutsHere {
			_ = l.write(to, p[:len(p)-len(body)+int(left)])
			cuts.Add(1)
			if l.plan.How != HalfOpen {
				l.cut(l.plan.How)
			}
			swallow(from)
			return
		}
		if left >= 0 {
			left -= int64(len(body))
		}
		if err := l.write(to, p); err != nil {
			return
		}
		carried.Add(int64(len(body)))
	}
}

// write writes unless the line is mute.
func (l *line) write(to net.Conn, p []byte) error {
	if l.mute.Load() {
		return nil
	}
	_, err := to.Write(p)
	return err
}

// swallow reads until the connection ends.
func swallow(from net.Conn) { _, _ = io.Copy(io.Discard, from) }

// handshake finds the end of the HTTP handshake in one direction.
type handshake struct {
	head []byte
	done bool
}

// skip returns the part of p behind the handshake.
func (h *handshake) skip(p []byte) []byte {
	if h.done {
		return p
	}
	h.head = append(h.head, p...)
	end := bytes.Index(h.head, []byte("\r\n\r\n"))
	if end < 0 {
		return nil
	}
	h.done = true
	return p[len(p)-(len(h.head)-end-4):]
}
