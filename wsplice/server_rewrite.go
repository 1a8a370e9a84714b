package wsplice

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// The two directions in which messages are passed on. Both split chunks of a connection's bytes into frames, without
// copying them, and make batches of these. There is no I/O in this file.

// controlIndex is the index of control messages.
const controlIndex = 0xffff

// maxCommand bounds a control message in bytes.
const maxCommand = 64 << 10

// noIndex stands for no index.
const noIndex = -1

// fromClient splits a client's bytes into frames. The first two bytes of a message choose the batch for its frames, and
// are removed. The payload stays masked and is never touched: the mask is rotated by two bytes.
type fromClient struct {
	maxMessage int64
	events     clientEvents

	inFrame bool  // the payload of a frame is being passed on
	left    int64 // how much of it is still to come
	last    bool  // the frame is the last of its message

	inMessage bool  // a message has begun and not ended
	size      int64 // of its payload so far

	index   int // where to leads, or noIndex
	to      *batch
	command *command // the control message that is being read, or nil
}

// clientEvents handle a client's frames that are not passed on.
type clientEvents interface {
	// route returns the batch for messages with the index. If there is none, it warns the client and returns nil.
	route(index int) *batch
	// tooShort handles a message without an index.
	tooShort()
	// command handles a control message. op is text or binary. p is nil if the message was too long.
	command(op ws.OpCode, p []byte)
	// control handles a ping, a pong or a close frame. An error ends the connection.
	control(op ws.OpCode, payload []byte) error
}

// command is a control message that is being read.
type command struct {
	op      ws.OpCode
	text    []byte
	tooLong bool
	mask    [4]byte
	offset  int // in the frame's payload
}

// feed takes the next bytes and returns how many it has used. It leaves an incomplete header, or an incomplete control
// frame, at the end. The batches refer to b, so b must not change until they are sent.
func (d *fromClient) feed(b []byte) (used int, err error) {
	// Since the last call an index may have gone to another channel. A message that has begun stays with its batch.
	d.index = noIndex
	for {
		rest := b[used:]
		if d.inFrame {
			n := int(min(d.left, int64(len(rest))))
			d.pass(rest[:n])
			used += n
			if d.inFrame {
				return used, nil
			}
			continue
		}
		var h header
		if !h.parse(rest) {
			return used, nil
		}
		if h.first != finBit|byte(ws.OpBinary) || !h.masked || d.inMessage || h.length < 0 {
			if err := h.check(true, d.inMessage); err != nil {
				return used, err
			}
		}
		var n int
		if h.opcode().IsControl() {
			n, err = d.control(&h, rest)
		} else {
			n, err = d.begin(&h, rest)
		}
		if used += n; n == 0 || err != nil {
			return used, err
		}
	}
}

// control handles a control frame, if it is complete. Otherwise it returns 0.
func (d *fromClient) control(h *header, b []byte) (n int, err error) {
	if n = h.size + int(h.length); n > len(b) {
		return 0, nil
	}
	payload := append(make([]byte, 0, ws.MaxControlFramePayloadSize), b[h.size:n]...)
	ws.Cipher(payload, h.mask, 0)
	return n, d.events.control(h.opcode(), payload)
}

// begin takes a data frame's header, and the payload if it is complete.
func (d *fromClient) begin(h *header, b []byte) (n int, err error) {
	if !d.inMessage {
		d.size = 0
	}
	if d.size += h.length; d.size > d.maxMessage || h.length > d.maxMessage {
		return 0, tooBig(d.maxMessage)
	}
	n = h.size
	if !d.inMessage {
		k, ok := d.beginMessage(h, b[n:])
		if !ok {
			return 0, nil
		}
		n += k
	}
	d.inMessage, d.last = !h.fin(), h.fin()
	if d.command != nil {
		d.command.mask, d.command.offset = h.mask, 0
	}
	if d.to == nil || h.length > int64(len(b)-n) {
		d.partial(h)
		return n, nil
	}
	// The usual case: the frame is complete.
	payload := b[n : n+int(h.length)]
	d.to.add(appendMasked(d.to.begin(), h.first, h.length, h.mask), payload)
	return n + len(payload), nil
}

// beginMessage reads the index, and changes the header to that of the frame without the index. It reports false if the
// index is incomplete.
func (d *fromClient) beginMessage(h *header, b []byte) (n int, ok bool) {
	d.command = nil
	if h.length < indexSize {
		d.events.tooShort()
		d.to, d.index = nil, noIndex
		return 0, true
	}
	if len(b) < indexSize {
		return 0, false
	}
	index := int(binary.BigEndian.Uint16(b) ^ binary.BigEndian.Uint16(h.mask[:]))
	h.length -= indexSize
	h.mask = rotate(h.mask)
	switch {
	case index == controlIndex:
		d.index, d.to = noIndex, nil
		d.command = &command{op: h.opcode(), text: []byte{}}
	case index != d.index || d.to == nil:
		d.index = index
		d.to = d.events.route(index)
	}
	return indexSize, true
}

// partial passes on a frame's header. The payload is incomplete, or there is no batch for it.
func (d *fromClient) partial(h *header) {
	if d.to != nil {
		d.to.add(appendMasked(d.to.begin(), h.first, h.length, h.mask), nil)
	}
	d.inFrame, d.left = true, h.length
}

// pass passes on a part of a frame's payload.
func (d *fromClient) pass(p []byte) {
	d.left -= int64(len(p))
	switch {
	case d.command != nil:
		d.command.append(p)
	case d.to != nil && len(p) > 0:
		d.to.add(d.to.resume(), p)
	}
	if d.left > 0 {
		return
	}
	d.inFrame = false
	if d.last && d.command != nil {
		d.endCommand()
	}
}

func (d *fromClient) endCommand() {
	c := d.command
	d.command = nil
	if c.tooLong {
		c.text = nil
	}
	// The command may free an index or give it to another channel.
	d.index, d.to = noIndex, nil
	d.events.command(c.op, c.text)
}

func (c *command) append(p []byte) {
	if c.tooLong = c.tooLong || len(c.text)+len(p) > maxCommand; c.tooLong {
		return
	}
	start := len(c.text)
	c.text = append(c.text, p...)
	ws.Cipher(c.text[start:], c.mask, c.offset)
	c.offset += len(p)
}

// toClient splits a remote's bytes into frames and adds the index to each message. A message goes to the batch when it
// is complete, because frames of different messages can't be mixed on one WebSocket.
type toClient struct {
	index      [indexSize]byte
	maxMessage int64
	events     remoteEvents

	want      int  // the size of the incomplete frame at the end of the last chunk
	blocked   bool // a complete message waits for credit
	inMessage bool // a message has begun and not ended
	size      int64
	held      []byte // the frames of that message so far, as the client gets them
}

// remoteEvents handle a remote's frames that are not passed on, and the credit for messages.
type remoteEvents interface {
	// mayPass reports whether a message of n bytes may be passed on now.
	mayPass(n int64) bool
	// control handles a ping, a pong or a close frame. An error ends the connection.
	control(op ws.OpCode, payload []byte) error
}

// The frames of one message may have heldFactor times the size of the largest message, and heldRoom bytes more, headers
// included. This is enough for frames of one byte each. It bounds how many empty frames a message may have.
const (
	heldFactor = 4
	heldRoom   = 64 << 10
)

var errFrames = &violation{ws.StatusMessageTooBig, "message in too many frames"}

// feed takes the next bytes and returns how many it has used. It leaves an incomplete frame at the end, and sets want
// to its size. The batch refers to b, so b must not change until the batch is sent.
func (m *toClient) feed(b []byte, to *batch) (used int, err error) {
	m.want, m.blocked = 0, false
	for {
		rest := b[used:]
		var h header
		if !h.parse(rest) {
			return used, nil
		}
		if h.first != finBit|byte(ws.OpBinary) || h.masked || m.inMessage || h.length < 0 {
			if err := h.check(false, m.inMessage); err != nil {
				return used, err
			}
		}
		if h.length > m.maxMessage {
			return used, tooBig(m.maxMessage)
		}
		n := h.size + int(h.length)
		if n > len(rest) {
			m.want = n
			return used, nil
		}
		payload := rest[h.size:n]
		switch {
		case h.opcode().IsControl():
			err = m.events.control(h.opcode(), payload)
		case h.fin() && !m.inMessage:
			if m.blocked = !m.events.mayPass(h.length); m.blocked {
				return used, nil
			}
			buf := appendHeader(to.begin(), h.first, h.length+indexSize)
			to.add(append(buf, m.index[0], m.index[1]), payload)
		default:
			err = m.fragment(&h, payload, to)
		}
		if err != nil || m.blocked {
			return used, err
		}
		used += n
	}
}

// fragment handles a frame of a message that has several.
func (m *toClient) fragment(h *header, payload []byte, to *batch) error {
	if !m.inMessage {
		m.size = 0
	}
	size := m.size + h.length
	switch {
	case size > m.maxMessage:
		return tooBig(m.maxMessage)
	case int64(len(m.held)-heldRoom)/heldFactor > m.maxMessage:
		return errFrames
	}
	if m.blocked = h.fin() && !m.events.mayPass(size); m.blocked {
		return nil
	}
	if !m.inMessage {
		m.held = appendHeader(m.held, h.first, h.length+indexSize)
		m.held = append(m.held, m.index[:]...)
	} else {
		m.held = appendHeader(m.held, h.first, h.length)
	}
	m.held = append(m.held, payload...)
	m.size, m.inMessage = size, !h.fin()
	if h.fin() {
		to.addPiece(m.held)
		to.payload += size
		m.held = nil
	}
	return nil
}
