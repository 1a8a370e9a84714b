package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// direction is the direction of messages.
type direction string

const (
	up   direction = "up"   // from the clients to the backends
	down direction = "down" // from the backends to the clients
)

// stream has messages that go from a sender to a receiver.
type stream struct {
	from, to net.Conn
	sent     shape
	received receiver
	messages int // how many were sent
}

// newStream returns a stream over a pair. Only streams that are 256 pairs apart have the same tag.
func newStream(p pair, number, payload int, way direction) *stream {
	plain := shape{payload: payload, tag: byte(number)}
	prefixed := plain
	prefixed.prefix = p.prefix
	if way == up {
		plain.masked, prefixed.masked = true, true
		return &stream{from: p.client, to: p.backend, sent: prefixed, received: newReceiver(plain, p.backend)}
	}
	return &stream{from: p.backend, to: p.client, sent: plain, received: newReceiver(prefixed, p.client)}
}

// send writes messages until it is told to stop, at least one block, and then the last message.
func (s *stream) send(stop *atomic.Bool) error {
	block, messages := s.sent.block()
	for stopped := false; !stopped; stopped = stop.Load() {
		if _, err := s.from.Write(block); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		s.messages += messages
	}
	_, err := s.from.Write(s.sent.last())
	return err
}

// throughput returns how many bytes of payload per second clients and backends exchange.
func throughput(ctx context.Context, connect connector, clients, payload int, d time.Duration, way direction,
) (perSecond float64, err error) {
	var streams []*stream
	for i := range clients {
		p, err := connect(ctx)
		if err != nil {
			return 0, err
		}
		defer p.close()
		streams = append(streams, newStream(p, i, payload, way))
	}
	start := time.Now()
	if err := transfer(streams, d); err != nil {
		return 0, err
	}
	elapsed := time.Since(start)
	return float64(payload) * float64(messages(streams)) / elapsed.Seconds(), nil
}

// patience is how long messages may take to arrive after the last one was written.
const patience = time.Minute

// transfer sends for a while, and returns when everything has been received.
func transfer(streams []*stream, d time.Duration) error {
	var stop atomic.Bool
	defer time.AfterFunc(d, func() { stop.Store(true) }).Stop()
	deadline := time.Now().Add(d + patience)
	errs := make(chan error)
	for _, s := range streams {
		_ = errors.Join(s.from.SetDeadline(deadline), s.to.SetDeadline(deadline)) // If this fails, reads and writes do, too.
		// Both end with the stream or at the deadline.
		go func() { errs <- s.send(&stop) }()
		go func() { errs <- s.received.receive() }()
	}
	var all error
	for range 2 * len(streams) {
		all = errors.Join(all, <-errs)
	}
	return errors.Join(all, checkCounts(streams))
}

// checkCounts checks that everything that was sent was received.
func checkCounts(streams []*stream) error {
	for i, s := range streams {
		if s.messages != s.received.messages {
			return fmt.Errorf("stream %d: %d messages received of %d, sender was told %q", i, s.received.messages, s.messages,
				s.told())
		}
	}
	return nil
}

// told returns the first bytes that came back to the sender. wsplice says there why it closed a channel.
func (s *stream) told() []byte {
	p := make([]byte, 256)
	_ = s.from.SetReadDeadline(time.Now().Add(time.Second)) // If this fails, the read does, too.
	n, _ := s.from.Read(p)
	return p[:n]
}

func messages(streams []*stream) (sum int) {
	for _, s := range streams {
		sum += s.received.messages
	}
	return sum
}
