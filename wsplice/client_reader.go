package wsplice

import (
	"encoding/binary"
	"encoding/json"

	"github.com/gobwas/ws"
)

// What a client makes of what its server says. The connection's reader does all of it.

func (c *Client) read() error {
	for {
		used, want, err := c.reader.feed(c.intake.buf)
		c.intake.consume(used, want)
		if err != nil {
			return err
		}
		if err := c.intake.fill(false); err != nil {
			return err
		}
	}
}

// control takes a control frame of the server's.
func (c *Client) control(op ws.OpCode, payload []byte) error {
	switch op {
	case ws.OpPing:
		c.out.pong(appendFrame(nil, ws.OpPong, true, payload))
	case ws.OpPong:
		c.ponged(payload)
	case ws.OpClose:
		said, err := parseClosing(payload)
		if err != nil {
			return err
		}
		return &closeError{said}
	}
	return nil
}

// ponged takes a pong. It answers the pings before it too, for the server may answer the newest alone (RFC 6455 section
// 5.5.3).
func (c *Client) ponged(payload []byte) {
	if len(payload) != 8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := binary.BigEndian.Uint64(payload)
	if id > uint64(c.lastID) {
		return // That of no ping.
	}
	for ; c.lastPong < id; c.lastPong++ {
		if pong := c.pings[c.lastPong+1]; pong != nil {
			pong <- struct{}{}
			delete(c.pings, c.lastPong+1)
		}
	}
}

// message takes a message of the server's. It does not keep payload.
func (c *Client) message(index int, payload []byte) error {
	if index == controlIndex {
		return c.told(payload)
	}
	c.mu.Lock()
	ch := c.channels[uint16(index)]
	c.mu.Unlock()
	if ch != nil {
		ch.push(payload)
	}
	return nil
}

// told takes a control message.
func (c *Client) told(p []byte) error {
	var m struct {
		call
		Result *connectResult `json:"result"`
		Error  *Error         `json:"error"`
	}
	if err := json.Unmarshal(p, &m); err != nil {
		return &violation{ws.StatusInvalidFramePayloadData, "control message is no JSON as expected"}
	}
	switch {
	case m.Type == typeReply:
		c.answered(m.ID, m.Result, m.Error)
	case m.Method == methodDisconnect || m.Method == methodClosed:
		return c.disconnected(m.Params)
	case m.Method == methodAck:
		return c.acknowledged(m.Params)
	}
	// Warnings are for messages that this client does not send, or of a channel that has just ended.
	return nil
}

// answered takes the answer to a call.
func (c *Client) answered(id int64, result *connectResult, e *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.calls[id]
	if p == nil {
		return
	}
	delete(c.calls, id)
	switch {
	case e != nil:
		p.tell(e)
	case p.channel == nil:
		p.tell(nil)
	case result == nil:
		p.tell(&Error{Code: CodeBadJSON, Message: "server's reply has no index"})
	case p.answer == nil:
		p.channel.connected(result)
		p.channel.release(closing{code: ws.StatusGoingAway})
	default:
		p.channel.connected(result)
		c.channels[result.Index] = p.channel
		p.tell(nil)
	}
}

func (p *pending) tell(err error) {
	if p.answer != nil {
		p.answer <- err
	}
}

func (c *Client) disconnected(params json.RawMessage) error {
	var d disconnectParams
	if err := json.Unmarshal(params, &d); err != nil {
		return &violation{ws.StatusInvalidFramePayloadData, "bad onSocketDisconnect"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.channels[d.Index]
	if ch == nil {
		return nil
	}
	delete(c.channels, d.Index)
	ch.disconnected(closing{ws.StatusCode(d.Code), d.Reason})
	return nil
}

func (c *Client) acknowledged(params json.RawMessage) error {
	var a ackParams
	if err := json.Unmarshal(params, &a); err != nil || a.Index == nil {
		return &violation{ws.StatusInvalidFramePayloadData, "bad ack"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.channels[uint16(*a.Index)]; ch != nil {
		ch.credit.add(a.Bytes)
	}
	return nil
}

// serverReader takes apart what a server sends.
type serverReader struct {
	maxMessage int64
	client     *Client
	inMessage  bool
	held       []byte // what is there of a message in several frames
}

// feed takes the next bytes. It returns how many it has used, and how many the frame that is incomplete at the end
// has, if that is known.
func (r *serverReader) feed(b []byte) (used, want int, err error) {
	for {
		var h header
		if !h.parse(b[used:]) {
			return used, 0, nil
		}
		if err := h.check(false, r.inMessage); err != nil {
			return used, 0, err
		}
		if h.length > r.maxMessage || h.opcode().IsData() && h.length+int64(len(r.held)) > r.maxMessage {
			return used, 0, tooBig(r.maxMessage)
		}
		want := h.size + int(h.length)
		if want > len(b)-used {
			return used, want, nil
		}
		payload := b[used+h.size : used+want]
		used += want
		if h.opcode().IsControl() {
			err = r.client.control(h.opcode(), payload)
		} else {
			err = r.data(&h, payload)
		}
		if err != nil {
			return used, 0, err
		}
	}
}

// data takes a frame of a message.
func (r *serverReader) data(h *header, payload []byte) error {
	whole := h.fin() && !r.inMessage
	if r.inMessage = !h.fin(); !whole {
		r.held = append(r.held, payload...)
		payload = r.held
	}
	if !h.fin() {
		return nil
	}
	r.held = nil
	if len(payload) < indexSize {
		return &violation{ws.StatusProtocolError, "message without an index"}
	}
	return r.client.message(int(binary.BigEndian.Uint16(payload)), payload[indexSize:])
}
