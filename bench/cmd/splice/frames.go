package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// The first bytes of frames that are whole messages (RFC 6455 section 5.2). A stream has binary messages, and a text message
// at its end.
const (
	wholeText   = 0x81
	wholeBinary = 0x82
)

// Bits and values of the second byte.
const (
	masked   = 0x80
	length16 = 126
	length64 = 127
)

// mask is the masking key of all masked frames. A program could skip masking with a key of zero.
var mask = [4]byte{0x9d, 0x3a, 0x51, 0xe6}

// shape describes the messages of a stream.
type shape struct {
	prefix  []byte // the index of the channel, if there is one
	payload int    // bytes after the prefix
	tag     byte   // the value of these bytes, which tells streams apart
	masked  bool
}

// frame appends a message to p.
func (s shape) frame(p []byte) []byte {
	p = s.header(p)
	var key [4]byte
	if s.masked {
		key = mask
		p = append(p, mask[:]...)
	}
	for i := range len(s.prefix) + s.payload {
		b := s.tag
		if i < len(s.prefix) {
			b = s.prefix[i]
		}
		p = append(p, b^key[i%len(key)])
	}
	return p
}

const lastPayload = 1

// last returns the message that ends a stream.
func (s shape) last() []byte {
	s.payload = lastPayload
	p := s.frame(nil)
	p[0] = wholeText
	return p
}

// header appends the part of the header before the mask.
func (s shape) header(p []byte) []byte {
	var bit byte
	if s.masked {
		bit = masked
	}
	n := len(s.prefix) + s.payload
	switch {
	case n < length16:
		return append(p, wholeBinary, bit|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(p, wholeBinary, bit|length16), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(p, wholeBinary, bit|length64), uint64(n))
}

// writeSize is how many bytes are written at a time, unless a message is larger.
const writeSize = 16 << 10

// block returns the messages that are written at a time.
func (s shape) block() (block []byte, messages int) {
	frame := s.frame(nil)
	messages = max(1, writeSize/len(frame))
	for range messages {
		block = append(block, frame...)
	}
	return block, messages
}

// receiver counts the messages of a stream. It checks the header and the first byte of each message against the shape. It
// reads headers with a library, as a backend in Go would. For small messages this takes longer than the rest.
type receiver struct {
	shape
	reader   *bufio.Reader
	messages int
}

// receiveSize is how many bytes are read at a time.
const receiveSize = 64 << 10

func newReceiver(s shape, from io.Reader) receiver {
	return receiver{shape: s, reader: bufio.NewReaderSize(from, receiveSize)}
}

// receive reads until the last message.
func (r *receiver) receive() error {
	for {
		last, err := r.next()
		if err != nil {
			return fmt.Errorf("receive, after %d messages: %w", r.messages, err)
		}
		if last {
			return nil
		}
	}
}

// next reads a frame.
func (r *receiver) next() (last bool, err error) {
	h, err := ws.ReadHeader(r.reader)
	if err != nil {
		return false, err
	}
	switch h.OpCode {
	case ws.OpPing, ws.OpPong:
	case ws.OpBinary:
		err = r.check(h, r.payload)
		r.messages++
	case ws.OpText:
		err = r.check(h, lastPayload)
		last = true
	default:
		err = fmt.Errorf("frame that was not sent: %+v", h)
	}
	if err != nil {
		return false, err
	}
	_, err = r.reader.Discard(int(h.Length))
	return last, err
}

// check checks a message after its header has been read.
func (r *receiver) check(h ws.Header, payload int) error {
	first := len(r.prefix)
	start, err := r.reader.Peek(min(first+1, int(h.Length)))
	if err != nil {
		return err
	}
	if !h.Fin || h.Rsv != 0 || h.Masked != r.masked || h.Length != int64(first+payload) {
		return fmt.Errorf("message that was not sent: %+v, % x", h, start)
	}
	if tag := start[first] ^ h.Mask[first%len(h.Mask)]; tag != r.tag {
		return fmt.Errorf("message of stream %d in stream %d", tag, r.tag)
	}
	return nil
}
