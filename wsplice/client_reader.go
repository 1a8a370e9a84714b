package wsplice

import (
	"encoding/binary"
	"encoding/json"

	"github.com/gobwas/ws"
)

// How a client handles the server's frames. The connection's reader runs all of this.

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

// control handles a control frame of the server.
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

// ponged handles a pong. It answers the pings before it too, because the server may answer the newest ping alone (RFC
// 6455 section 5.5.3).
func (c *Client) ponged(payload []byte) {
	if len(payload) != 8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := binary.BigEndian.Uint64(payload)
	if id > uint64(c.lastID) {
		return // No ping had this number.
	}
	for ; c.lastPong < id; c.lastPong++ {
		if pong := c.pings[c.lastPong+1]; pong != nil {
			pong <- struct{}{}
			delete(c.pings, c.lastPong+1)
		}
	}
}

// message handles a message of the server. It does not keep payload.
func (c *Client) message(index int, payload []byte) error {
	if index == controlIndex {
		return c.controlMessage(payload)
	}
	c.mu.Lock()
	ch := c.channels[uint16(index)]
	c.mu.Unlock()
	if ch != nil {
		ch.push(payload)
	}
	return nil
}

// controlMessage handles a control message.
func (c *Client) controlMessage(p []byte) error {
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
	// A warning is ignored: it concerns a channel that has just ended, or messages that this client does not send.
	return nil
}

// answered handles the answer to a call.
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

// serverReader splits a server's bytes into frames and messages.
type serverReader struct {
	maxMessage int64
	client     *Client
	inMessage  bool
	held       []byte // the payload so far of a message in several frames
}

// feed takes the next bytes. It returns how many it has used. If an incomplete frame follows them, want is its size, or
// 0 if that is not known yet.
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

// data handles a frame of a message.
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
