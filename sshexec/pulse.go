package sshexec

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Connect logs in to an SSH host over a connection, which it closes if that fails. The context bounds the handshake. The
// address is the host's, as the config's HostKeyCallback is to be told.
//
// A Redialer whose dial connects by this, with the context that dial has got, takes all that comes from the host for a
// sign of life. From a client that was made otherwise it knows but what somebody reads of the commands' outputs, and the
// answers to its keep-alives: those may be late where much is on the way that nobody reads.
func Connect(ctx context.Context, conn net.Conn, address string, config *ssh.ClientConfig) (*ssh.Client, error) {
	if p, ok := ctx.Value(pulseKey{}).(*pulse); ok {
		conn = monitored{conn, p}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	inner, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return ssh.NewClient(inner, channels, requests), nil
}

// pulse knows when something came from a host last.
type pulse struct {
	begun time.Time
	last  atomic.Int64 // nanoseconds since then
}

// pulseKey is the key of a context's pulse.
type pulseKey struct{}

func newPulse() *pulse { return &pulse{begun: time.Now()} }

// beat notes that something has come.
func (p *pulse) beat() { p.last.Store(int64(time.Since(p.begun))) }

// since returns when something came last.
func (p *pulse) since() time.Time { return p.begun.Add(time.Duration(p.last.Load())) }

// monitored is a connection that notes when something comes.
type monitored struct {
	net.Conn
	pulse *pulse
}

func (m monitored) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if n > 0 {
		m.pulse.beat()
	}
	return n, err
}

// keepAlive closes the client when nothing has come from the host for an interval, and in the next one neither, though it
// was asked for an answer. It returns when the connection is lost.
func (p *pulse) keepAlive(client *ssh.Client, interval time.Duration, lost <-chan struct{}) {
	var asked time.Time
	for {
		heard := p.since()
		due := heard.Add(interval)
		if asked.After(heard) {
			due = asked.Add(interval)
		}
		select {
		case <-time.After(time.Until(due)):
		case <-lost:
			return
		}
		switch {
		case p.since().After(heard):
		case asked.After(heard):
			_ = client.Close()
			return
		default:
			asked = time.Now()
			// Ends when the host answers, at the latest with the connection.
			go p.ask(client)
		}
	}
}

// ask asks the host for an answer.
func (p *pulse) ask(client *ssh.Client) {
	if _, _, err := client.SendRequest(keepAlive, true, nil); err != nil {
		// Without a connection to ask over there is none to keep.
		_ = client.Close()
		return
	}
	p.beat()
}
