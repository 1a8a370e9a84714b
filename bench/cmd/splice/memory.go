package main

import (
	"context"
	"io"
	"time"
)

// firstChannels are open before memory is measured. For the first ones wsplice allocates memory that later ones share.
const firstChannels = 100

// idleMemory returns wsplice's resident memory, in KiB, per idle channel. One client has all channels.
func idleMemory(ctx context.Context, program string, channels int) (kib float64, err error) {
	b, err := listen()
	if err != nil {
		return 0, err
	}
	defer b.listener.Close()
	s, err := startSplice(program)
	if err != nil {
		return 0, err
	}
	defer func() { err = s.stop(err) }()
	client, err := dial(ctx, s.url)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	var backends closers
	defer backends.close()
	open := func() error {
		p, err := b.channel(client)
		if err != nil {
			return err
		}
		backends = append(backends, p.backend)
		return useOnce(p)
	}
	before, err := s.residentWith(open, firstChannels)
	if err != nil {
		return 0, err
	}
	after, err := s.residentWith(open, channels)
	return (after - before) / float64(channels), err
}

type closers []io.Closer

func (c closers) close() {
	for _, closer := range c {
		_ = closer.Close()
	}
}

// settling is how long wsplice gets to become idle.
const settling = 500 * time.Millisecond

// residentWith returns the resident memory after further channels have been opened.
func (s *splice) residentWith(open func() error, channels int) (kib float64, err error) {
	for range channels {
		if err := open(); err != nil {
			return 0, err
		}
	}
	time.Sleep(settling)
	return s.resident()
}

// useOnce sends at least one message each way.
func useOnce(p pair) error {
	for _, way := range []direction{up, down} {
		if err := transfer([]*stream{newStream(p, 0, tripPayload, way)}, 0); err != nil {
			return err
		}
	}
	return nil
}
