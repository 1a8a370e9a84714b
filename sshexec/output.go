package sshexec

import (
	"bytes"
	"io"
	"sync"

	"golang.org/x/xerrors"
)

// maxChunk is how much is read or written at once: what fits a packet.
const maxChunk = 32 << 10

// output reads an output of a session. Unlike what it reads from, it stops when the session is dropped.
type output struct {
	r  io.Reader
	ch *channel

	mu      sync.Mutex // held during a read; guards what follows
	skip    mark       // what is dropped, with what precedes it and the rest of its line; empty when that is done
	rest    []byte
	err     error
	reading chan chunk // the result of a read that is under way
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

// fill reads what comes next, and waits no longer than the session is wanted. The lock is held.
func (o *output) fill() {
	if o.reading == nil {
		o.reading = make(chan chunk, 1)
		// Ends with the read, which the end of the session or of the connection ends.
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

// line reads a line that has the mark, and returns what follows that. What precedes it is dropped, save its end if
// there is no such line. The lock is held, or nobody else reads.
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

// maxNoise is how much is kept of what is no line with a mark.
const maxNoise = 4 << 10
