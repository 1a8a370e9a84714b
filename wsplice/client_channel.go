package wsplice

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/gobwas/ws"
	"golang.org/x/xerrors"
)

// Channel is a WebSocket to a remote through a [Client]. It satisfies wsep.Conn. [Client.Connect] makes a Channel, and
// the caller must close it. One goroutine reads at a time. All other methods are safe for concurrent use, with each
// other and with a read.
//
// When the remote has closed the connection with a close frame, the error of [Channel.Reader] has an error in its chain
// with the method CloseStatus() (code int, reason string).
type Channel struct {
	client      *Client
	index       uint16
	window      int64 // 0 if the server knows none
	subprotocol string
	credit      *credit       // for what goes to the remote
	ended       chan struct{} // closed when err is set
	ready       chan struct{} // has room for one value, sent when there is a message
	room        chan struct{} // has room for one value, sent when something has been consumed

	message channelMessage // the one that is being read

	mu       sync.Mutex   // guards what follows
	err      error        // why nothing more comes and nothing can be sent
	messages messageQueue // not read yet
	empty    int64        // how many of them are empty
	size     int64        // their bytes, with the rest of the message that is being read
	consumed int64        // bytes consumed since the last ack
	limit    int64        // of a message's size; negative means none
	released bool         // the server has been told that the index is not used any more
}

func newChannelOf(c *Client) *Channel {
	ch := &Channel{
		client: c,
		ended:  make(chan struct{}),
		ready:  make(chan struct{}, 1),
		room:   make(chan struct{}, 1),
		limit:  -1,
	}
	ch.message.channel = ch
	return ch
}

// connected stores the server's answer. The client's lock is held.
func (ch *Channel) connected(r *connectResult) {
	ch.index, ch.window, ch.credit = r.Index, r.Window, newCredit(r.Window)
	ch.subprotocol = r.Subprotocol
}

// Subprotocol returns the subprotocol that the remote has chosen. It returns "" if the remote has chosen none or the
// server does not say.
func (ch *Channel) Subprotocol() string { return ch.subprotocol }

// Reader waits for the next message, text or binary, and returns a reader of its bytes. That returns [io.EOF] at the
// message's end. The next call drops the rest of the message. If the context ends, the channel is closed.
func (ch *Channel) Reader(ctx context.Context) (io.Reader, error) {
	ch.message.drop()
	for {
		message, err := ch.next()
		if v, ok := errors.AsType[*violation](err); ok {
			ch.closeWith(closing(*v), err)
		}
		if err != nil {
			return nil, err
		}
		if message != nil {
			ch.message.rest = message
			return &ch.message, nil
		}
		select {
		case <-ch.ready:
		case <-ch.ended:
		case <-ctx.Done():
			ch.closeWith(closing{code: ws.StatusGoingAway}, ctx.Err())
			return nil, ctx.Err()
		}
	}
}

// next returns the next message, or nil if there is none. An empty message is not nil.
func (ch *Channel) next() ([]byte, error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.messages.count == 0 {
		return nil, ch.err
	}
	message := ch.messages.first()
	if ch.limit >= 0 && int64(len(message)) > ch.limit {
		return nil, tooBig(ch.limit)
	}
	ch.messages.remove()
	if len(message) == 0 {
		ch.empty--
		ch.signalRoom()
	}
	return message, nil
}

var errEmpty = xerrors.New("too many empty messages have not been read")

// push takes a message from the server. Empty messages cost no credit. If there are too many of them, the channel is
// closed.
func (ch *Channel) push(payload []byte) {
	if ch.awaitRoom() && !ch.hold(payload) {
		ch.closeWith(closing{ws.StatusPolicyViolation, errEmpty.Error()}, errEmpty)
	}
}

// awaitRoom waits for room if the server knows no windows. It reports false if the client has given up the connection.
func (ch *Channel) awaitRoom() bool {
	for ch.full() {
		select {
		case <-ch.room:
		case <-ch.ended:
		case <-ch.client.givenUp:
			return false
		}
	}
	return true
}

// full reports whether a channel without a window must not take a message now.
func (ch *Channel) full() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	window := ch.client.window
	return ch.window == 0 && ch.err == nil && (ch.size >= window || ch.empty >= maxEmpty(window))
}

// maxEmpty returns how many empty messages a channel with a window may hold.
func maxEmpty(window int64) int64 { return max(1, window/4) }

// hold keeps a message, if the channel has not ended. It reports false if there are too many empty ones.
func (ch *Channel) hold(payload []byte) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.err != nil {
		return true
	}
	if len(payload) == 0 {
		if ch.window > 0 && ch.empty >= maxEmpty(ch.window) {
			return false
		}
		ch.empty++
	}
	ch.messages.add(payload)
	ch.size += int64(len(payload))
	select {
	case ch.ready <- struct{}{}:
	default:
	}
	return true
}

func (ch *Channel) signalRoom() {
	select {
	case ch.room <- struct{}{}:
	default:
	}
}

// consume counts n bytes that have been read, and acknowledges them when they are a quarter of the window.
func (ch *Channel) consume(n int) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.size -= int64(n)
	if ch.window == 0 {
		ch.signalRoom()
		return
	}
	if ch.consumed += int64(n); ch.consumed >= ch.window/4 && !ch.released {
		index := int64(ch.index)
		ch.client.tell(methodAck, ackParams{&index, ch.consumed})
		ch.consumed = 0
	}
}

// Write sends p as one binary message. It does not keep p. It waits while a window of earlier bytes is unacknowledged.
// If the context ends before p is sent, the channel is closed.
func (ch *Channel) Write(ctx context.Context, p []byte) error {
	for !ch.credit.take(int64(len(p))) {
		if err := ch.credit.await(ctx, int64(len(p))); err != nil {
			ch.closeWith(closing{code: ws.StatusGoingAway}, err)
			return err
		}
	}
	if err := ch.failure(); err != nil {
		return err
	}
	frame := newFrame(maxHeader + indexSize + len(p))
	*frame = appendFrame(*frame, ws.OpBinary, true, []byte{byte(ch.index >> 8), byte(ch.index)}, p)
	err := ch.client.out.send(ctx, frame, ch.isReleased)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errSkipped):
		return orClosed(ch.failure())
	}
	ch.closeWith(closing{code: ws.StatusGoingAway}, err)
	return err
}

// orClosed returns the error, or ErrClosed if it is nil because the reason is not known yet.
func orClosed(err error) error {
	if err == nil {
		return ErrClosed
	}
	return err
}

func (ch *Channel) isReleased() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.released
}

// failure returns why nothing can be sent.
func (ch *Channel) failure() error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.err
}

// Ping sends a ping to the server and waits for its pong. The remote does not see the ping.
func (ch *Channel) Ping(ctx context.Context) error {
	if err := ch.failure(); err != nil {
		return err
	}
	return ch.client.ping(ctx)
}

// SetReadLimit bounds the size of a message in bytes. A larger message closes the channel with status 1009. A negative
// limit means none, and is the default. [DialOptions].MaxMessage applies in any case.
func (ch *Channel) SetReadLimit(n int64) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.limit = n
}

// Close has the server close the remote's connection with the code and a reason of at most 123 bytes. It waits for the
// server's reply for at most five seconds. All calls that wait on the channel return. Messages that were written before
// still reach the remote.
func (ch *Channel) Close(code int, reason string) error {
	if !sendable(int64(code)) {
		return xerrors.Errorf("close code %d can't be sent", code)
	}
	if !ch.end(ErrClosed) {
		return ErrClosed
	}
	ch.mu.Lock()
	ch.released = true
	ch.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	index, c := int64(ch.index), int64(code)
	err := ch.client.call(ctx, methodTerminate, terminateParams{&index, &c, cutReason(reason)}, nil)
	ch.client.remove(ch)
	return err
}

// CloseNow has the server close the remote's connection, and does not wait. All calls that wait on the channel return.
// It returns nil.
func (ch *Channel) CloseNow() error {
	ch.closeWith(closing{code: ws.StatusGoingAway}, ErrClosed)
	return nil
}

// closeWith closes the channel if it is not closed yet. It does not wait.
func (ch *Channel) closeWith(said closing, err error) {
	ch.end(err)
	ch.release(said)
	ch.client.remove(ch)
}

// end ends the channel with the error: no message is taken or sent after it. It reports false if the channel has ended
// before. Messages that have come can still be read.
func (ch *Channel) end(err error) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.endLocked(err)
}

func (ch *Channel) endLocked(err error) bool {
	if ch.err != nil {
		return false
	}
	ch.err = err
	ch.credit.end()
	close(ch.ended)
	return true
}

// disconnected ends the channel, because its remote has closed or lost the connection. The client's lock is held.
func (ch *Channel) disconnected(said closing) {
	var err error = &closeError{said}
	if said.code == ws.StatusAbnormalClosure {
		err = errRemoteLost
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.endLocked(err)
	if ch.window == 0 {
		ch.released = true // The server has freed the index.
	}
	ch.releaseLocked(closing{code: ws.StatusNormalClosure})
}

// release tells the server that the index is not used any more.
func (ch *Channel) release(said closing) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.releaseLocked(said)
}

func (ch *Channel) releaseLocked(said closing) {
	if ch.released {
		return
	}
	ch.released = true
	index, code := int64(ch.index), int64(said.code)
	ch.client.tell(methodTerminate, terminateParams{&index, &code, cutReason(said.reason)})
}

// tell sends a control message that has no answer. It does not wait.
func (c *Client) tell(method string, params any) {
	c.out.enqueue(queued{frame: controlFrame(encodeCall(0, method, params))})
}

// remove forgets a channel whose index is not used any more.
func (c *Client) remove(ch *Channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels[ch.index] == ch {
		delete(c.channels, ch.index)
	}
}

// channelMessage reads a message.
type channelMessage struct {
	channel *Channel
	rest    []byte
}

// Read implements io.Reader.
func (m *channelMessage) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		m.rest = nil
		return 0, io.EOF
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	m.channel.consume(n)
	return n, nil
}

// drop consumes the rest of the message.
func (m *channelMessage) drop() {
	if n := len(m.rest); n > 0 {
		m.rest = nil
		m.channel.consume(n)
	}
}
