//go:build linux

package wsep_test

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// cable carries connections to a server, and can be cut.
type cable struct {
	listener net.Listener

	mu     sync.Mutex // guards what follows
	target string
	lines  map[*line]bool
}

func newCable(t *testing.T, url string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{target: strings.TrimPrefix(url, "http://"), listener: listener, lines: map[*line]bool{}}
	var accepting sync.WaitGroup
	accepting.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		c.cut(false)
	})
	return c
}

func (c *cable) url() string { return "http://" + c.listener.Addr().String() }

func (c *cable) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		target := c.target
		c.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &line{ends: [2]net.Conn{client, server}}
		c.mu.Lock()
		c.lines[l] = true
		c.mu.Unlock()
		// These end when the line is cut, or when one of its ends closes.
		go l.carry(client, server)
		go l.carry(server, client)
	}
}

// retarget makes new connections go to another server. It returns the former one.
func (c *cable) retarget(url string) (former string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	former, c.target = c.target, strings.TrimPrefix(url, "http://")
	return former
}

// cut closes all connections, with or without a reset. It sends no close frame.
func (c *cable) cut(reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.lines {
		for _, end := range l.ends {
			if reset {
				_ = end.(*net.TCPConn).SetLinger(0)
			}
			_ = end.Close()
		}
	}
	clear(c.lines)
}

// mute drops all further bytes. The connections stay open.
func (c *cable) mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.lines {
		l.muted.Store(true)
	}
}

// line is a connection, by its two ends.
type line struct {
	ends  [2]net.Conn
	muted atomic.Bool
}

func (l *line) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if l.muted.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// serveCut serves connections that are cut. The last words of a client may be cut off too. The Server then waits for
// its client, until the test ends.
func serveCut(t *testing.T, h *wsep.Handler) string {
	t.Helper()
	if h.Execer == nil {
		h.Execer = wsep.LocalExecer{}
	}
	srv := wsep.NewServer()
	h.Server = srv
	var served atomic.Int64 // connections
	url := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		defer served.Add(-1)
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		// The Server may still have to notice that a connection is lost. If the line is mute, that takes long.
		for began := time.Now(); served.Load() > 0 && time.Since(began) < time.Second; time.Sleep(5 * time.Millisecond) {
			srv.Close()
		}
		srv.Close()
	})
	return url
}
