package sshtest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Proxy passes connections on, and can break them.
type Proxy struct {
	listener net.Listener
	target   string
	silent   atomic.Bool
	rate     atomic.Int64 // bytes per second to clients; 0 for no limit

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	count int
	ended int
}

// NewProxy returns a proxy to an address. It is closed at the test's end.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{listener: listener, target: target}
	var serving sync.WaitGroup
	// Ends with the listener.
	serving.Go(func() { p.accept(&serving) })
	t.Cleanup(func() {
		p.Close()
		serving.Wait()
	})
	return p
}

// Address returns the address of the proxy.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Count returns how many connections there have been.
func (p *Proxy) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// Open returns how many connections are open.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count - p.ended
}

// Cut breaks all connections, also within a frame.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}

// Close breaks all connections and accepts no more.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Cut()
}

// Silence drops all bytes while it is on.
func (p *Proxy) Silence(on bool) { p.silent.Store(on) }

// Throttle bounds the rate to clients from now on, in bytes per second for each connection.
func (p *Proxy) Throttle(rate int64) { p.rate.Store(rate) }

func (p *Proxy) accept(serving *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.count++
		p.mu.Unlock()
		// These end when either end closes the connection, or Cut does.
		serving.Go(func() {
			p.pass(server, client, nil)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.ended++
		})
		serving.Go(func() { p.pass(client, server, &p.rate) })
	}
}

func (p *Proxy) pass(dst, src net.Conn, rate *atomic.Int64) {
	defer dst.Close()
	_, _ = io.Copy(writerFunc(func(b []byte) (int, error) {
		if p.silent.Load() {
			return len(b), nil
		}
		if rate != nil && rate.Load() > 0 {
			time.Sleep(time.Duration(len(b)) * time.Second / time.Duration(rate.Load()))
		}
		return dst.Write(b)
	}), src)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
