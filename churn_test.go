//go:build linux

package wsep_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/leaktest"
)

// churn is the state that the clients of TestSessionChurn share.
type churn struct {
	t       *testing.T
	srv     *wsep.Server
	patient string // the URL where sessions outlive their clients
	hasty   string // the URL where they do so for a moment only
	mark    mark

	mu     sync.Mutex     // guards what follows
	counts map[string]int // how often something happened
}

// churner acts as one client after another.
type churner struct {
	*churn
	random *rand.Rand
	cable  *cable
}

// TestSessionChurn lets clients attach, detach and do everything else with sessions, at random.
func TestSessionChurn(t *testing.T) {
	skipIfShort(t)
	overKinds(t, testSessionChurn)
}

func testSessionChurn(t *testing.T, opts *wsep.Options) {
	const clients = 8
	length := 2 * time.Second
	if longTests {
		length = time.Minute
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed) // It decides the choices, but not their order in time.

	leaktest.Check(t)
	dir := sessionDir(t)
	// A client that is cut off silently stays attached until it misses a ping.
	const keepAlive = 500 * time.Millisecond
	c := &churn{t: t, srv: wsep.NewServer(), mark: newMark(t), counts: map[string]int{}}
	c.patient = newServer(t, &wsep.Handler{
		Server: c.srv, Execer: localIn(dir), Options: &wsep.Options{Sessions: opts.Sessions, KeepAlive: keepAlive},
	})
	c.hasty = newServer(t, &wsep.Handler{
		Server: c.srv, Execer: localIn(dir),
		Options: &wsep.Options{Sessions: opts.Sessions, KeepAlive: keepAlive, SessionTimeout: 20 * time.Millisecond},
	})
	end := time.Now().Add(length)
	var running sync.WaitGroup
	// On a busy machine it may take longer until everything has happened.
	goesOn := func() bool {
		now := time.Now()
		return now.Before(end) || now.Before(end.Add(patience)) && len(c.missing()) > 0
	}
	for n := range clients {
		one := churner{c, rand.New(rand.NewPCG(seed, uint64(n))), newCable(t, c.patient)}
		running.Go(func() {
			for goesOn() && !t.Failed() {
				one.visit()
			}
		})
	}
	running.Wait()

	c.within("Server.Close", c.srv.Close)
	t.Logf("happened: %v", c.counts)
	require.Empty(t, c.missing())
	require.Zero(t, c.srv.SessionCount())
	requireNoFiles(t, dir)
	c.mark.requireNone(t, patience)
}

func (c *churn) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

// missing returns what has not happened yet.
func (c *churn) missing() (missing []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, what := range []string{"attached", "exited", "was closed", "was detached or cut off"} {
		if c.counts[what] == 0 {
			missing = append(missing, what)
		}
	}
	return missing
}

// within fails the test, and returns false, if an operation does not end.
func (c *churn) within(what string, operation func()) bool {
	ended := make(chan struct{})
	// Ends with the operation.
	go func() {
		defer close(ended)
		operation()
	}()
	select {
	case <-ended:
		return true
	case <-time.After(patience):
		c.t.Errorf("%s does not end", what)
		return false
	}
}

// visit attaches to a random session, acts there, and detaches in a random way.
func (c churner) visit() {
	n := c.random.IntN(20)
	id, code := fmt.Sprint("session ", n), 10+n
	url := []string{c.patient, c.hasty, c.cable.url()}[c.random.IntN(3)]
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	leave := c.way(id, code, cancel)

	var cutting sync.WaitGroup
	early := c.random.IntN(4) == 0
	if early {
		pause := c.upTo(30 * time.Millisecond)
		cutting.Go(func() {
			time.Sleep(pause) // A random moment, in the middle of anything.
			leave(nil)
		})
	}
	var p wsep.Process
	var err error
	execer := wsep.Dialer{URL: url, Resume: -1}
	if !c.within("Start", func() { p, err = execer.Start(ctx, c.mark.on(bash(id))) }) {
		return
	}
	cutting.Wait()
	if err != nil {
		c.judge("Start", err, code)
		return
	}
	c.count("attached")
	s := watchScreen(c.t, p)
	if !early {
		for range c.random.IntN(4) {
			c.act(p)
		}
		leave(p)
	} else {
		cancel()
	}
	if c.within("Wait", func() { err = p.Wait() }) && c.within("the output", func() { <-s.ended }) {
		c.judge("Wait", err, code)
	}
}

func (c churner) upTo(limit time.Duration) time.Duration {
	return time.Duration(c.random.Int64N(int64(limit)))
}

// act does one of the things that an attached client does. The session may be done already.
func (c churner) act(p wsep.Process) {
	c.within("resizing, typing or a pause", func() {
		switch c.random.IntN(3) {
		case 0:
			_ = p.Resize(c.t.Context(), uint16(5+c.random.IntN(100)), uint16(20+c.random.IntN(200)))
		case 1:
			_, _ = io.WriteString(p.Stdin(), "\x15for i in {1..100}; do echo line $i; done\n")
		case 2:
			time.Sleep(c.upTo(50 * time.Millisecond)) // A client that does nothing for a while.
		}
	})
}

// way chooses how a client detaches. If it has no process yet, it detaches while it attaches.
func (c churner) way(id string, code int, cancel func()) func(p wsep.Process) {
	ways := []struct {
		name  string
		leave func(p wsep.Process)
	}{
		{"close", func(p wsep.Process) {
			if p == nil {
				cancel()
				return
			}
			_ = p.Close()
		}},
		{"context", func(wsep.Process) { cancel() }},
		{"end of the stream", func(wsep.Process) {
			c.cable.cut(false)
			cancel() // It may have come another way.
		}},
		{"reset", func(wsep.Process) {
			c.cable.cut(true)
			cancel()
		}},
		{"silence", func(wsep.Process) {
			c.cable.mute()
			cancel()
		}},
		{"close of the session", func(p wsep.Process) {
			c.srv.CloseSession("", id, "no reason")
			if p == nil {
				cancel() // It may not have been there yet.
			}
		}},
		{"exit", func(p wsep.Process) {
			if p == nil {
				cancel()
				return
			}
			_, _ = io.WriteString(p.Stdin(), fmt.Sprintf("\x15exit %d\n", code))
		}},
	}
	way := ways[c.random.IntN(len(ways))]
	return func(p wsep.Process) {
		c.count(way.name)
		c.within(way.name, func() { way.leave(p) })
	}
}

// judge fails the test for an error that a client should not see.
func (c churner) judge(from string, err error, code int) {
	exit, exited := errors.AsType[wsep.ExitError](err)
	switch {
	case exited && exit.ExitCode() == code:
		c.count("exited")
	case exited || err == nil:
		c.t.Errorf("%s: %v, not the exit code %d", from, err, code)
	case errors.Is(err, context.Canceled), errors.Is(err, wsep.ErrDisconnected),
		strings.Contains(err.Error(), "detached from session"):
		c.count("was detached or cut off")
	case strings.Contains(err.Error(), "session is closing"), strings.Contains(err.Error(), "session is done"):
		c.count("was closed")
	default:
		c.t.Errorf("%s: %v", from, err)
	}
}
