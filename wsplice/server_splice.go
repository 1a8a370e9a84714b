package wsplice

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// splice is the server's end of a channel: a remote's connection. Its goroutine reads the remote and owns the
// connection. It alone closes it. The session's reader sends to the remote.
type splice struct {
	session *session
	index   uint16
	line    *line
	intake  *intake
	mux     toClient
	outlet  outlet

	// For the session's reader alone.
	batch    batch // frames for the remote
	touched  bool  // it is among the session's touched channels
	delay    delay // how long the remote has kept others waiting
	released bool  // the client has terminated the channel, and does not use the index any more

	subprotocol string // the one that the remote has chosen, if any

	window int64   // 0 if the client knows no windows
	credit *credit // for what goes to the client
	wanted int64   // the size of the message that waits for credit

	ctx  context.Context // ends when the client gets nothing more of the channel, or the channel has failed
	stop context.CancelFunc
	// terminated says that the client gets no more of the channel's messages. Any goroutine sets it. It is read with
	// the lock of the session's sharedOut held before messages are sent.
	terminated atomic.Bool

	mu    sync.Mutex // guards what follows
	cause error      // why this end gave up the remote
	timer *time.Timer
}

const (
	// closeGrace is how long a remote has to answer a close frame.
	closeGrace = 5 * time.Second
	// lookInterval is how often a session's reader that waits for a remote looks for the client's end.
	lookInterval = 50 * time.Millisecond
	// dropAfter is for how long the messages of a client that has closed its end are still passed on to slow remotes.
	dropAfter = 150 * time.Millisecond
	// endTimeout is how long the end of a session, or of a channel, may take. So remotes are closed within a second of
	// the client's end.
	endTimeout = 650 * time.Millisecond
	// maxDelay is how long one channel may keep the others waiting, beyond the time that minRate gives its remote.
	maxDelay = 250 * time.Millisecond
	// minRate is how many bytes a remote must take in a second while others wait for it.
	minRate = 1 << 20
	// maxQueue is how many bytes a channel without a window may have waiting for its remote.
	maxQueue = 4 << 20
	// soleQueue is maxQueue for a channel that keeps no others waiting. A longer queue would only be slower, because it
	// does not fit into the processor's cache.
	soleQueue = 512 << 10
	// queuedPerByte is how many bytes the queue may have for each byte of the window: one byte and a header of six for
	// messages of one byte, and two for the headers of a quarter as many empty messages and further frames.
	queuedPerByte = 9
)

// newSplice makes a splice of a remote's connection. window is the agreed window in bytes, or 0.
func newSplice(s *session, r *remote, window int64) *splice {
	l := newLine(r.Conn)
	c := &splice{session: s, line: l, window: window, subprotocol: r.subprotocol}
	c.intake = newIntake(l, s.opts.readTimeout)
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.credit = newCredit(window)
	c.mux = toClient{maxMessage: s.opts.maxMessage, events: c}
	c.outlet = outlet{
		line: l, timeout: s.opts.writeTimeout, failed: c.fail, wg: &s.wg,
		moved: make(chan struct{}, 1), urgent: &c.batch.urgent,
	}
	if window > 0 {
		c.outlet.ack, c.outlet.ackUnit = c.acknowledge, window/4
	}
	c.intake.preload(r.early)
	return c
}

// run passes on the remote's messages until its connection ends, and then closes the channel.
func (c *splice) run() {
	c.close(c.read())
}

func (c *splice) read() error {
	var b batch
	for {
		if err := c.pass(&b); err != nil {
			return err
		}
		if err := c.intake.fill(c.mux.inMessage); err != nil {
			return err
		}
	}
}

// pass passes on the bytes that have been read.
func (c *splice) pass(b *batch) error {
	for {
		used, err := c.mux.feed(c.intake.buf, b)
		if sendErr := c.toClient(b); err == nil {
			err = sendErr
		}
		c.intake.consume(used, c.mux.want)
		if err != nil || !c.mux.blocked {
			return err
		}
		if err := c.credit.await(c.ctx, c.wanted); err != nil {
			return err
		}
	}
}

// toClient sends a batch to the client, unless the channel is terminated.
func (c *splice) toClient(b *batch) error {
	if b.empty() {
		return nil
	}
	defer b.reset()
	out := &c.session.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if c.terminated.Load() {
		return nil
	}
	return out.write(b.all())
}

// mayPass implements remoteEvents.
func (c *splice) mayPass(n int64) bool {
	c.wanted = n
	return c.terminated.Load() || c.credit.take(n)
}

// control implements remoteEvents.
func (c *splice) control(op ws.OpCode, payload []byte) error {
	switch op {
	case ws.OpPing:
		c.outlet.pong(payload)
	case ws.OpClose:
		said, err := parseClosing(payload)
		if err != nil {
			return err
		}
		return &closeError{said}
	}
	return nil
}

// deliver sends the batch to the remote. If the queue is full, it waits for room. It drops the batch when the session
// drops the client's messages.
func (c *splice) deliver(inFrame bool) {
	defer c.batch.reset()
	pieces := c.batch.all()
	limit := c.limit()
	for !c.session.dropping && !c.outlet.send(pieces, c.batch.payload, inFrame, limit) {
		if c.window > 0 {
			c.fail(errWindow)
			return
		}
		if !c.awaitRoom() {
			return
		}
	}
}

// limit returns how many bytes the queue may have.
func (c *splice) limit() int {
	switch {
	case c.window > 0:
		return max(maxQueue, int(queuedPerByte*c.window+c.session.opts.maxMessage)+maxHeader)
	case c.session.table.sole():
		return soleQueue
	}
	return maxQueue
}

// awaitRoom waits until the queue may have become shorter. It reports false if the remote is given up. The session's
// reader waits here and does not read, so it looks for the client's end.
func (c *splice) awaitRoom() bool {
	limit := min(lookInterval, maxDelay-c.delay.behind)
	t := time.NewTimer(limit)
	defer t.Stop()
	began := time.Now()
	select {
	case <-c.outlet.moved:
	case <-t.C:
	case <-c.ctx.Done(): // The channel has failed, as after the write timeout.
		return false
	case <-c.session.ctx.Done():
		return false
	}
	// A longer wait is not the remote's fault: this process did not run.
	c.delay.add(min(time.Since(began), limit), c.outlet.taken.Load())
	if c.session.table.sole() {
		c.delay.behind = 0
	}
	if c.delay.behind >= maxDelay {
		c.fail(errSlow)
		return false
	}
	c.session.lookForClient()
	return true
}

// delay measures how long a remote has kept others waiting. A remote has a second for each minRate bytes that it takes,
// and this time does not count. So the delay of a remote that is fast enough stays small.
type delay struct {
	behind time.Duration
	taken  int64 // how many bytes the remote had taken in all when behind was computed
}

// add adds a wait. taken is how many bytes the remote has taken in all at its end.
func (d *delay) add(wait time.Duration, taken int64) {
	earned := time.Duration(taken-d.taken) * (time.Second / minRate)
	d.behind, d.taken = max(0, d.behind+wait-earned), taken
}

// acknowledge tells the client that the remote has taken n bytes more. It does not wait.
func (c *splice) acknowledge(n int64) {
	if c.terminated.Load() {
		return
	}
	index := int64(c.index)
	c.session.send(encodeCall(0, methodAck, ackParams{&index, n}), nil)
}

// fail gives up the remote. It does not wait. The channel's goroutine then closes the channel.
func (c *splice) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = err
	}
	c.stop()
	c.line.interrupt()
}

// terminate sends the remote a close frame. The client gets no more of the channel. The remote has the grace to answer.
// terminate does not wait.
func (c *splice) terminate(said closing, grace time.Duration) {
	c.terminated.Store(true)
	c.credit.end()
	if c.expire(grace) && !c.outlet.close(said) {
		c.line.interrupt()
	}
}

// expire has the connection interrupted after the grace. It reports whether this is the first call.
func (c *splice) expire(grace time.Duration) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Reset(grace)
		return false
	}
	c.timer = time.AfterFunc(grace, c.line.interrupt)
	return true
}

// close closes the channel after its read has returned err. It tells the client and the remote, and waits until all is
// sent.
func (c *splice) close(err error) {
	said, answer := c.ending(err)
	c.stop()
	c.session.disconnected(c, said)
	c.terminate(said, endTimeout) // After an earlier call this only sets the time.
	if !answer {
		c.line.interrupt()
	} else if c.sentClose(err) {
		c.linger()
	}
	c.outlet.wait()
	c.mu.Lock()
	c.timer.Stop()
	c.mu.Unlock()
	_ = c.line.Close()
}

// ending returns the code and the reason for the client. answer reports whether the remote gets a close frame.
func (c *splice) ending(err error) (said closing, answer bool) {
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	if v, ok := errors.AsType[*violation](cause); ok {
		return closing(*v), false
	}
	if cause != nil {
		// The system's words are not for clients, because they contain addresses.
		return closing{code: ws.StatusAbnormalClosure}, false
	}
	if closed, ok := errors.AsType[*closeError](err); ok {
		return closed.closing, true
	}
	if v, ok := errors.AsType[*violation](err); ok {
		return closing{v.code, "remote broke the protocol: " + v.reason}, true
	}
	return closing{code: ws.StatusAbnormalClosure}, false
}

// sentClose reports whether the close frame to the remote does not answer one of the remote.
func (c *splice) sentClose(err error) bool {
	_, answered := errors.AsType[*closeError](err)
	return !answered
}

// linger reads until the remote has closed its end, so that bytes on their way to it are not lost with a reset.
func (c *splice) linger() {
	for c.intake.fill(false) == nil {
		c.intake.consume(len(c.intake.buf), 0)
	}
}
