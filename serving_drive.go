package wsep

import (
	"context"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// drive is one connection's time with its conversation. It is an event loop: step waits for the next event and acts on it.
// All of it belongs to the goroutine of Serve.
type drive struct {
	*serving
	ctx    context.Context // Serve's
	unbind func() bool     // detaches the conversation's end from ctx

	phase    context.Context // ends first when pid or resumed is sent, and from then on when the connection is no longer used
	endPhase context.CancelFunc

	onward   func() error     // forwards the conversation, and returns what Serve returns; nil if it is held here
	resuming *proto.Resume    // how the client has come back; nil if it has started the command
	detached bool             // the connection is lost, and the client may come back
	cause    error            // why the connection is lost
	sent     <-chan struct{}  // closed when the connection has carried all output; nil when that no longer matters, as below
	exited   <-chan struct{}  // closed when the process has exited, if the client can be told before all output is sent
	reported chan report      // receives how telling the client of the exit went
	told     bool             // the client was sent everything
	hasRead  bool             // the client has read everything
	answered <-chan struct{}  // closed when it has
	timeout  <-chan time.Time // when the client is no longer waited for
	timer    *time.Timer      // timeout's; nil before the first
}

func newDrive(ctx context.Context, s *serving) *drive {
	d := &drive{serving: s, ctx: ctx, reported: make(chan report, 1)}
	d.phase, d.endPhase = context.WithCancel(ctx)
	d.unbind = context.AfterFunc(ctx, s.conv.shut)
	s.conv.carrier.Store(&s.link)
	return d
}

// run drives the conversation until it is over, or another connection takes over. It returns what Serve returns.
func (d *drive) run() error {
	if d.opts.KeepAlive > 0 {
		d.keepAlive(d.phase, d.opts.KeepAlive, false, 0, d.lose) // Every client reads until pid has come.
	}
	for {
		ended, err := d.step()
		if ended && d.onward != nil {
			err = d.onward() // Not in step, whose frames would keep the stack large for as long as the conversation lasts.
		}
		if ended {
			return d.end(err)
		}
	}
}

// end ends the drive. It ends the conversation too, unless another connection takes over. It returns what Serve returns: of
// a lost connection, why it is lost, whatever came of the conversation later.
func (d *drive) end(err error) error {
	d.stopTimer()
	if err != errTaken {
		d.release()
		d.conv.detach(&d.link)
		d.conv.finish(err == nil && !d.detached)
	}
	if d.cause != nil {
		return d.cause
	}
	return err
}

// release ends what binds the conversation to this drive.
func (d *drive) release() {
	d.unbind()
	d.endPhase()
	if d.detached {
		d.server.setDetached(d.conv, false)
	}
}

// step waits for the next event and acts on it. It reports whether the drive has ended, and how.
func (d *drive) step() (ended bool, err error) {
	c := d.conv
	select {
	case r := <-c.begun:
		c.begun = nil
		return d.begun(r)
	case <-d.sent:
		return d.report()
	case <-d.exited:
		return d.report()
	case r := <-d.reported:
		return d.hasReported(r)
	case <-d.answered:
		d.answered, d.hasRead = nil, true
		d.setTimer(closeGrace)
	case <-d.timeout:
		return true, nil
	case err := <-d.reads():
		return d.readEnded(err)
	case err := <-d.writes():
		return d.connectionLost(disconnected(err))
	case t := <-c.takeover:
		if d.server.isLate(c, t.attempt) {
			t.granted <- false
			return false, nil
		}
		d.letGo()
		t.granted <- true
		return true, errTaken
	case <-c.ctx.Done():
		return true, d.shutDown()
	}
	return false, nil
}

// reads returns the channel that tells of the reader's end, while that matters. writes does so for lost connections.
func (d *drive) reads() <-chan error {
	if d.detached {
		return nil
	}
	return d.readErr
}

func (d *drive) writes() <-chan error {
	if d.detached {
		return nil
	}
	return d.lost
}

// begun acts on the result of the start.
func (d *drive) begun(r started) (ended bool, err error) {
	c := d.conv
	var forwards *remoteProcess
	if r.err == nil {
		forwards, r.err = c.forwarding.forwards(r)
	}
	switch {
	case r.err != nil && c.ctx.Err() != nil: // It did not fail: the server ends.
		return true, d.shutDown()
	case forwards != nil:
		return true, d.forwardStart(forwards, r.release)
	case c.forwarding.isLost(r.err):
		return true, hopLost(r.err)
	case r.err != nil:
		c.failed = r.err
		if d.detached {
			return false, nil // The client may come back to hear of it.
		}
		return true, d.refuse(r.err)
	}
	c.run(r)
	if c.grace == 0 {
		c.stdout.forget()
		c.stderr.forget()
	}
	switch {
	case d.detached:
		d.exited = c.exited
		return false, nil
	case d.resuming != nil:
		return d.adopt()
	}
	pid := proto.Pid{Pid: c.process.Pid(), Session: d.session(), Extensions: d.accept(), Server: d.nextMark()}
	if err := d.send(pid); err != nil {
		return d.connectionLost(disconnected(xerrors.Errorf("send pid: %w", err)))
	}
	d.attach()
	return false, nil
}

// attach lets the conversation flow over the connection. The client has been sent pid or resumed.
func (d *drive) attach() {
	d.endPhase()
	d.phase, d.endPhase = context.WithCancel(d.ctx)
	if d.opts.KeepAlive > 0 {
		read := d.life.written.Load() // Every client reads pid.
		d.keepAlive(d.phase, d.opts.KeepAlive, d.peer.Window == 0, read, d.lose)
	}
	d.sent = d.sentBoth
	if d.endsApart() {
		d.exited = d.conv.exited
	}
	d.conv.attach(&d.link, &d.peer)
}

// report tells the client of the exit. All output was sent, or the process has exited.
func (d *drive) report() (ended bool, err error) {
	d.sent, d.exited = nil, nil
	if d.detached {
		// A process that has exited no longer counts. Ends at once.
		go d.conv.learnExit()
		return false, nil
	}
	// Ends with the connection.
	go func() { d.reported <- d.reportExit(d.phase) }()
	return false, nil
}

// hasReported acts on how telling the client went.
func (d *drive) hasReported(r report) (ended bool, err error) {
	switch {
	case d.detached:
		return false, nil // The client is told when it comes back.
	case r.final != nil:
		return true, r.final
	case r.lost != nil:
		return d.connectionLost(r.lost)
	}
	d.told = true
	d.askWhetherRead()
	return false, nil
}

// askWhetherRead makes answered close when the client has read everything. Until then the connection must not be closed
// here: unread messages would be lost. A client answers pings in the order in which it reads.
func (d *drive) askWhetherRead() {
	answered := make(chan struct{})
	d.answered = answered
	// Most clients close the connection at once.
	asking := time.AfterFunc(askDelay, func() {
		if d.answers(d.phase) {
			close(answered)
		}
	})
	context.AfterFunc(d.phase, func() { asking.Stop() })
}

// readEnded acts on the end of the reader.
func (d *drive) readEnded(err error) (ended bool, _ error) {
	err = d.connectionEnd(err)
	_, broken := err.(*protocolError)
	switch {
	case err == nil, d.hasRead, broken && d.conv.grace == 0:
		if d.told {
			err = nil
		}
		return true, err
	case broken:
		return d.dismiss(err) // A message that was cut short with its connection may look broken.
	}
	return d.connectionLost(err)
}

// connectionLost acts on the loss of the connection. A client that may come back is waited for.
func (d *drive) connectionLost(err error) (ended bool, _ error) {
	if d.conv.grace == 0 {
		if d.told {
			err = nil
		}
		return true, err
	}
	if d.ctx.Err() != nil || d.conv.ctx.Err() != nil {
		return true, d.shutDown()
	}
	await(d.closed, d.conv.ctx.Done(), goodbyeGrace) // A write may fail before the client's last word is read.
	d.detach()
	if d.hasLeft() {
		return true, nil
	}
	d.cause = err
	d.setTimer(d.conv.grace)
	return false, nil
}

// hasLeft reports whether the reader has ended because the client has closed the connection for good.
func (d *drive) hasLeft() bool {
	select {
	case err := <-d.readErr:
		return d.connectionEnd(err) == nil
	default:
		return false
	}
}

// dismiss closes a connection whose client can't have the conversation now, and waits for the client as if the connection
// were lost.
func (d *drive) dismiss(err error) (ended bool, _ error) {
	d.closeConn(err)
	return d.connectionLost(err)
}

// closeConn closes the connection with the error's code. The client has fenceGrace to read that.
func (d *drive) closeConn(err error) {
	code, reason := CloseStatus(err)
	// Ends within the time that Conn.Close gives the peer, or when detach closes the connection.
	go func() { _ = d.conn.Close(code, reason) }()
	await(d.closed, d.ctx.Done(), fenceGrace)
}

// detach stops using the connection. When it returns the connection's reader has ended.
func (d *drive) detach() {
	if d.detached {
		return
	}
	d.detached, d.answered = true, nil
	d.endPhase()
	d.conv.detach(&d.link)
	d.server.setDetached(d.conv, true)
	_ = d.conn.CloseNow()
	<-d.closed
}

// letGo leaves the conversation to another connection.
func (d *drive) letGo() {
	if !d.detached {
		d.fenced.Store(true)
		d.closeConn(errTaken)
		d.detach()
	}
	d.release()
}

// fenceGrace is how long a client has to read why its connection is closed.
const fenceGrace = 250 * time.Millisecond

// shutDown returns what Serve returns when the conversation's time is over because the server ends it. A client that would
// come back is told before that there is no use.
func (d *drive) shutDown() error {
	if !d.detached && !d.told && d.conv.grace > 0 && d.conv.process != nil {
		slow := time.AfterFunc(fenceGrace, func() { _ = d.conn.CloseNow() })
		_ = d.send(proto.ExitCode{
			ExitCode: -1, Error: errServerClosing.Error(), Kind: kindOf(ErrDisconnected), Pending: true,
		})
		slow.Stop()
	}
	if err := d.ctx.Err(); err != nil {
		return err
	}
	return errServerClosing
}

func (d *drive) setTimer(after time.Duration) {
	d.stopTimer()
	d.timer = time.NewTimer(after)
	d.timeout = d.timer.C
}

func (d *drive) stopTimer() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
