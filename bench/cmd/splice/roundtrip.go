package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/gobwas/ws"
)

// tripPayload is how many bytes go there and back.
const tripPayload = 32

// roundTrip returns the median time of a round trip, in microseconds.
func roundTrip(ctx context.Context, connect connector, trips int) (micros float64, err error) {
	p, err := connect(ctx)
	if err != nil {
		return 0, err
	}
	echoed := make(chan error, 1)
	// Ends when the pair is closed.
	go func() { echoed <- echo(p.backend) }()
	times, err := timeTrips(p, trips)
	p.close()
	if err = errors.Join(err, <-echoed); err != nil {
		return 0, err
	}
	slices.Sort(times)
	return float64(times[len(times)/2].Nanoseconds()) / 1e3, nil
}

// warmTrips are made before the trips that count.
const warmTrips = 100

func timeTrips(p pair, trips int) (times []time.Duration, err error) {
	request := shape{prefix: p.prefix, payload: tripPayload, tag: 'x', masked: true}.frame(nil)
	want := shape{prefix: p.prefix, payload: tripPayload, tag: 'x'}.frame(nil)
	got := make([]byte, len(want))
	if err := p.client.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	for i := range warmTrips + trips {
		start := time.Now()
		if _, err := p.client.Write(request); err != nil {
			return nil, fmt.Errorf("send: %w", err)
		}
		if _, err := io.ReadFull(p.client, got); err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		if i >= warmTrips {
			times = append(times, time.Since(start))
		}
		if !bytes.Equal(got, want) {
			return nil, fmt.Errorf("received % x, want % x", got, want)
		}
	}
	return times, nil
}

// echo sends back all messages of the round trips, until the connection ends.
func echo(conn net.Conn) error {
	request := make([]byte, len(shape{payload: tripPayload, masked: true}.frame(nil)))
	reply := shape{payload: tripPayload}.frame(nil)
	body := reply[len(reply)-tripPayload:]
	for {
		if _, err := io.ReadFull(conn, request); err != nil {
			return nil // If the client is still there, it misses an answer and fails.
		}
		if request[0] != wholeBinary {
			return nil // This is a close frame.
		}
		copy(body, request[len(request)-tripPayload:])
		ws.Cipher(body, [4]byte(request[len(request)-tripPayload-len(mask):]), 0)
		if _, err := conn.Write(reply); err != nil {
			return fmt.Errorf("echo: %w", err)
		}
	}
}
