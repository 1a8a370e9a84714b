package sshexec

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Connect logs in to an SSH host over a connection. If that fails, it closes the connection. The context bounds the
// handshake. The config's HostKeyCallback gets the address.
//
// The dial function of a [Redialer] should call Connect with its own context. Then the Redialer takes all bytes from
// the host for a sign of life. With a client that was made otherwise, it sees only the outputs that are read, and the
// answers to its keep-alives. These answers may be late while much unread output is on the way.
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

// pulse keeps the time of the last bytes from a host.
type pulse struct {
	begun time.Time
	last  atomic.Int64 // nanoseconds from begun to the last bytes
}

// pulseKey is the key of a context's pulse.
type pulseKey struct{}

func newPulse() *pulse { return &pulse{begun: time.Now()} }

// beat notes that bytes have come.
func (p *pulse) beat() { p.last.Store(int64(time.Since(p.begun))) }

// since returns the time of the last bytes.
func (p *pulse) since() time.Time { return p.begun.Add(time.Duration(p.last.Load())) }

// monitored is a connection that notes when bytes come.
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

// keepAlive closes the client when the host is silent for two intervals. After the first it asks the host for an
// answer. It returns when the connection is lost.
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
			// Ends when the host answers, at the latest when the connection is closed.
			go p.ask(client)
		}
	}
}

// ask asks the host for an answer.
func (p *pulse) ask(client *ssh.Client) {
	if _, _, err := client.SendRequest(keepAlive, true, nil); err != nil {
		// The connection is lost.
		_ = client.Close()
		return
	}
	p.beat()
}
