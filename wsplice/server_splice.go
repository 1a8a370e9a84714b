package wsplice

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// splice is the server's end of a channel: a remote's socket. Its goroutine reads the remote and owns the connection: it alone
// closes it. The session's reader sends what is for the remote.
type splice struct {
	session *session
	index   uint16
	line    *line
	intake  *intake
	mux     toClient
	outlet  outlet

	// For the session's reader alone.
	batch   batch // what is for the remote
	touched bool  // it is among the session's touched channels
	delay   delay // of others by the remote

	subprotocol string // the one that the remote has chosen, if any

	window   int64   // 0 if the client knows no windows
	credit   *credit // for what goes to the client
	wanted   int64   // the size of the message that waits for credit
	received int64   // bytes of messages for the remote. The outlet's lock guards it
	acked    int64   // of which the client knows that they have been taken. The outlet's lock guards it

	ctx  context.Context // ends when the client is told no more about the channel, or the channel has failed
	stop context.CancelFunc
	// terminated says that the client wants no more of the channel. It is set at once, and looked at under the lock
	// of the client's connection.
	terminated atomic.Bool
	leaving    bool // the client has terminated it. For the session's reader alone

	mu    sync.Mutex // guards what follows
	cause error      // why this end gave up the remote
	timer *time.Timer
}

const (
	// closeGrace is how long a remote has to answer a close frame.
	closeGrace = 5 * time.Second
	// glance is how often one who waits looks whether the client is still there.
	glance = 50 * time.Millisecond
	// lastWords is how long what a client has sent before it went away is still passed on to remotes that are slow.
	lastWords = 150 * time.Millisecond
	// farewell is how long a session's end may take. A client's remotes are closed within a second of its end.
	farewell = 650 * time.Millisecond
	// patience is how long one channel may keep the others waiting, beyond the time that minRate gives its remote.
	patience = 250 * time.Millisecond
	// minRate is how many bytes a remote must take in a second while others wait for it.
	minRate = 1 << 20
	// maxQueue is how many bytes a channel without a window may have waiting for its remote.
	maxQueue = 4 << 20
	// soleQueue is that of a channel that keeps no others waiting. More of it would only be copied out of the cache.
	soleQueue = 512 << 10
	// queuedPerByte is how many bytes the queue may have for each of the window. The smallest messages of a window have
	// a header of six bytes for each. A quarter as many empty ones, and further frames, come to twice the window at most.
	queuedPerByte = 9
)

// newSplice makes a splice of a remote's connection. window is what the client asked for.
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
		c.outlet.drained = c.acknowledge
	}
	c.intake.preload(r.early)
	return c
}

// run reads the remote until it ends, and tells the client.
func (c *splice) run() {
	c.conclude(c.read())
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

// pass passes on what has been read.
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

// toClient sends a batch to the client, unless it wants no more.
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

// deliver sends the batch to the remote. If its queue is full, it waits for room. What comes of a client that is gone
// is dropped.
func (c *splice) deliver(inFrame bool) {
	defer c.batch.reset()
	pieces := c.batch.all()
	limit := c.limit()
	for !c.session.parting && !c.outlet.send(pieces, c.batch.payload, &c.received, inFrame, limit) {
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

// awaitRoom waits until the queue may have become shorter, and reports false if the remote is given up. Who waits here
// does not read, and so has to look whether the client is still there.
func (c *splice) awaitRoom() bool {
	limit := min(glance, patience-c.delay.behind)
	t := time.NewTimer(limit)
	defer t.Stop()
	began := time.Now()
	select {
	case <-c.outlet.moved:
	case <-t.C:
	case <-c.ctx.Done(): // As after the write timeout.
		return false
	case <-c.session.ctx.Done():
		return false
	}
	// Whatever is longer is not the remote's fault: this machine was late to go on.
	c.delay.add(min(time.Since(began), limit), c.outlet.taken.Load())
	if c.session.table.sole() {
		c.delay.behind = 0
	}
	if c.delay.behind >= patience {
		c.fail(errSlow)
		return false
	}
	c.session.lookForClient()
	return true
}

// delay is how long a remote has kept others waiting, less the time that it had for what it took meanwhile: a second
// for each minRate bytes. So it stays small as long as a remote is no slower than that.
type delay struct {
	behind time.Duration
	taken  int64 // what the remote had taken in all when behind was computed
}

// add adds a wait, at the end of which the remote has taken so much in all.
func (d *delay) add(wait time.Duration, taken int64) {
	earned := time.Duration(taken-d.taken) * (time.Second / minRate)
	d.behind, d.taken = max(0, d.behind+wait-earned), taken
}

// acknowledge tells the client what the remote has taken. The outlet's lock is held.
func (c *splice) acknowledge() {
	// The queue has headers too. So this is no more than has been taken, and all when the queue is empty.
	taken := c.received - int64(c.outlet.queue.size)
	if n := taken - c.acked; n >= c.window/4 && !c.terminated.Load() {
		index := int64(c.index)
		c.session.send(encodeCall(0, methodAck, ackParams{&index, n}), nil)
		c.acked = taken
	}
}

// fail gives up the remote. It does not wait. The channel's goroutine does the rest.
func (c *splice) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = err
	}
	c.stop()
	c.line.interrupt()
}

// terminate closes the remote for the client, which is told no more. The remote has the grace to answer. It does not
// wait.
func (c *splice) terminate(said closing, grace time.Duration) {
	c.terminated.Store(true)
	c.credit.end()
	if c.expire(grace) && !c.outlet.close(said) {
		c.line.interrupt()
	}
}

// expire bounds the rest of the channel's life. It reports whether that is the first time.
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

// conclude ends the channel, for which its remote or this end has given a reason.
func (c *splice) conclude(err error) {
	said, answer := c.ending(err)
	c.stop()
	c.session.disconnected(c, said)
	c.terminate(said, farewell) // Does nothing but set the time if that has been done.
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

// ending returns what the client is told, and whether the remote is there to be told something.
func (c *splice) ending(err error) (said closing, answer bool) {
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	if v, ok := errors.AsType[*violation](cause); ok {
		return closing(*v), false
	}
	if cause != nil {
		// The system's words, which are not for clients: they have addresses in them.
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

// sentClose reports whether a close frame goes to the remote that is no answer to one.
func (c *splice) sentClose(err error) bool {
	_, answered := errors.AsType[*closeError](err)
	return !answered
}

// linger reads until the remote has closed its end, so that what has been sent to it is not lost with a reset.
func (c *splice) linger() {
	for c.intake.fill(false) == nil {
		c.intake.consume(len(c.intake.buf), 0)
	}
}
