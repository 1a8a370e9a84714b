package sshexec

import (
	"bytes"
	"io"
	"sync"

	"golang.org/x/xerrors"
)

// maxChunk is how many bytes are read or written at once: as many as fit into a packet.
const maxChunk = 32 << 10

// output reads an output of a session. A read returns early when the session is dropped.
type output struct {
	r  io.Reader
	ch *channel

	mu      sync.Mutex // held during a read; guards what follows
	skip    mark       // everything up to the end of the line with this mark is dropped; empty after that
	rest    []byte
	err     error
	reading chan chunk // gets the result of the read that is under way; nil if there is none
}

// chunk is what a read returned.
type chunk struct {
	data []byte
	err  error
}

// Read implements io.Reader.
func (o *output) Read(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.skip != (mark{}) {
		if _, err := o.line(o.skip); err != nil {
			return 0, err
		}
		o.skip = mark{}
	}
	for len(o.rest) == 0 && len(b) > 0 {
		if o.err != nil {
			return 0, o.err
		}
		o.fill()
	}
	n := copy(b, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// fill waits for the next bytes, or until the session is dropped. The lock is held.
func (o *output) fill() {
	if o.reading == nil {
		o.reading = make(chan chunk, 1)
		// Ends with the read, at the latest when the session or the connection is closed.
		go func(reading chan<- chunk) { reading <- o.read() }(o.reading)
	}
	select {
	case c := <-o.reading:
		o.rest, o.err, o.reading = append(o.rest, c.data...), c.err, nil
	case <-o.ch.dropped:
		o.err = errDropped
	}
}

var errDropped = xerrors.New("output was dropped with its process")

func (o *output) read() chunk {
	data := make([]byte, maxChunk)
	n, err := o.r.Read(data)
	if n > 0 {
		o.ch.sessions.pulse.beat()
	}
	switch {
	case err == io.EOF:
		if cause := o.ch.end(); cause != nil {
			err = cause
		}
	case err != nil:
		err = lost(xerrors.Errorf("read: %w", err))
	}
	return chunk{data[:n], err}
}

// line reads up to the end of a line with the mark. It returns the text behind the mark, and drops the text before it.
// After an error rest has the last bytes that were read. The lock is held, or no other goroutine reads.
func (o *output) line(m mark) (string, error) {
	begin := []byte(m.String())
	for {
		_, after, found := bytes.Cut(o.rest, begin)
		if text, rest, whole := bytes.Cut(after, []byte("\n")); whole {
			o.rest = rest
			return string(bytes.TrimSpace(text)), nil
		}
		if !found {
			o.rest = o.rest[max(0, len(o.rest)-maxNoise):]
		}
		switch {
		case o.err != nil:
			return "", o.err
		case len(after) > maxNoise:
			return "", xerrors.Errorf("host sends a line of more than %d bytes", maxNoise)
		}
		o.fill()
	}
}

// maxNoise is how many bytes without a mark are kept.
const maxNoise = 4 << 10
