package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// direction is which way messages go.
type direction string

const (
	up   direction = "up"   // from the clients to the backends
	down direction = "down" // from the backends to the clients
)

// stream is messages on their way from a sender to a receiver.
type stream struct {
	from, to net.Conn
	sent     shape
	received receiver
	messages int // how many were sent
}

// newStream returns a stream over a pair. Streams have different tags, apart from those that are 256 pairs apart.
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

// send writes messages, some at least, until it is told to stop, and then the one that is the last.
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

// patience is how long messages may be under way after the last was written.
const patience = time.Minute

// transfer sends for a while, and returns when all has been received.
func transfer(streams []*stream, d time.Duration) error {
	var stop atomic.Bool
	defer time.AfterFunc(d, func() { stop.Store(true) }).Stop()
	deadline := time.Now().Add(d + patience)
	errs := make(chan error)
	for _, s := range streams {
		_ = errors.Join(s.from.SetDeadline(deadline), s.to.SetDeadline(deadline)) // Reads and writes tell.
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

// checkCounts finds out whether all that was sent was received.
func checkCounts(streams []*stream) error {
	for i, s := range streams {
		if s.messages != s.received.messages {
			return fmt.Errorf("stream %d: %d messages received of %d, sender was told %q", i, s.received.messages, s.messages,
				s.told())
		}
	}
	return nil
}

// told returns the beginning of what the sender has been sent, where wsplice says why it closed a channel.
func (s *stream) told() []byte {
	p := make([]byte, 256)
	_ = s.from.SetReadDeadline(time.Now().Add(time.Second)) // The read fails if that does.
	n, _ := s.from.Read(p)
	return p[:n]
}

func messages(streams []*stream) (sum int) {
	for _, s := range streams {
		sum += s.received.messages
	}
	return sum
}
