package wsep

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// forward is one connection's time with a conversation that the next hop holds. Messages flow through it in both directions. The
// readers of both connections put what they read into bounded buffers, and never wait for the other connection.
type forward struct {
	*drive
	hop     *clientLink
	agreed  proto.Extensions // to which the next hop agreed
	pinging time.Duration    // how often a silent next hop is pinged; not at all if negative
	release func()           // tells the server that the process has exited
	keep    func(*idleConn)  // keeps the next hop's connection for another conversation; nil if none is kept
	final   bool             // the client has ended the conversation

	stdin                        *sender       // to the next hop
	stdinSent                    chan struct{} // closed when it has carried all of stdin
	stdout, stderr               *flow.Buffer  // from the next hop
	stdoutReceipt, stderrReceipt receipt       // to the next hop

	skipMu  sync.Mutex     // held while the client is told; guards skipped
	skipped *proto.Skipped // what the client is to be told before more output; nil if nothing

	ends    chan any      // messages of the end for the client: proto.ExitCode and proto.End; closed by read
	telling bool          // tell has begun; owned by read
	told    chan struct{} // closed when the client was sent the last message
	heard   chan struct{} // closed when the client has read it
	idle    chan struct{} // closed when nothing of ends is under way any more
	rests   atomic.Bool   // after the last message: somebody reads the next hop's connection on, or keeps it
	ended   chan error    // receives why the next hop's connection has ended
	done    chan struct{} // closed when forward ends
}

// forwardSlack is how many bytes a buffer holds beyond a window, at most: the other end may have acknowledged the first bytes of a
// piece that is still being written to it.
const forwardSlack = flow.MaxPiece

func newForward(d *drive, hop *clientLink, peer *proto.Extensions, release func()) *forward {
	f := &forward{
		drive:         d,
		hop:           hop,
		release:       release,
		stdinSent:     make(chan struct{}),
		stdout:        flow.NewBuffer(defaultWindow + forwardSlack),
		stderr:        flow.NewBuffer(defaultWindow + forwardSlack),
		stdoutReceipt: receipt{field: proto.TypeStdout},
		stderrReceipt: receipt{field: proto.TypeStderr},
		ends:          make(chan any, 2),
		told:          make(chan struct{}),
		heard:         make(chan struct{}),
		idle:          make(chan struct{}),
		ended:         make(chan error, 1),
		done:          make(chan struct{}),
	}
	if peer != nil {
		f.agreed = *peer
	}
	f.stdout.Strict, f.stderr.Strict = true, true
	f.stdin = newSender(proto.StdinHeader, f.done)
	f.stdin.lasting = true
	return f
}

// forwardStart makes the drive forward the conversation about a process that the next hop has started. Its error is what Serve returns
// if it can't.
func (d *drive) forwardStart(p *remoteProcess, release func()) error {
	p.unbind()
	f := newForward(d, p.current(), &p.peer, release)
	f.pinging, f.keep = p.pinging, p.resumer.keep
	d.conv.forwarding = nil // It has the process, whose memory is free from now on.
	d.conv.forwardTo(f)
	var answer any
	switch {
	case d.detached:
		f.drop()
		return d.cause
	case d.resuming != nil:
		d.adopted.Store(true)
		answer = proto.Resumed{Pid: p.pid, Session: p.session.onWire(), Extensions: f.accept(), Server: f.nextMark()}
	default:
		answer = proto.Pid{Pid: p.pid, Session: p.session.onWire(), Extensions: f.accept(), Server: f.nextMark()}
	}
	d.onward = func() error { return f.run(answer) }
	return nil
}

// forwardTo makes the conversation go through this Server. From now on the next hop finds it.
func (c *conversation) forwardTo(f *forward) {
	c.stdin.Extend(forwardSlack)
	c.forward.Store(f)
	c.server.forgetConversation(c, false)
	close(c.forwarded)
}

// accept returns what the next hop agreed to, in this server's words.
func (f *forward) accept() *proto.Extensions {
	taken := f.serving.accept()
	taken.Window = min(taken.Window, f.agreed.Window)
	taken.Signal = taken.Signal && f.agreed.Signal
	taken.Session = taken.Session && f.agreed.Session
	taken.Resume = f.agreed.Resume
	if f.peer.Keep > 0 {
		taken.Keep = f.agreed.Keep
	}
	return taken
}

// run answers the client, and lets the conversation flow. It returns what Serve returns.
func (f *forward) run(answer any) error {
	defer f.close()
	if err := f.send(answer); err != nil {
		f.lose(xerrors.Errorf("send answer: %w", err))
	} else {
		f.flow()
	}
	select {
	case err := <-f.readErr:
		return f.clientLeft(f.connectionEnd(err))
	default:
	}
	select {
	case err := <-f.readErr:
		return f.clientLeft(f.connectionEnd(err))
	case err := <-f.lost:
		return f.clientLeft(f.lastWord(err))
	case err := <-f.ended:
		return f.hopLeft(err)
	case <-f.ctx.Done():
		return &leavingError{f.ctx.Err()}
	}
}

// flow lets both connections carry the conversation. A sender without a window keeps nothing that it has sent.
func (f *forward) flow() {
	c := f.conv
	f.endPhase()
	f.phase, f.endPhase = context.WithCancel(f.ctx)
	if f.opts.KeepAlive > 0 {
		f.keepAlive(f.phase, f.opts.KeepAlive, false, 0, f.lose)
	}
	if f.pinging > 0 {
		f.hop.keepAlive(f.hop.used, f.pinging, false, 0, f.hop.giveUp)
	}
	c.attach(&f.link, &proto.Extensions{MaxMessage: f.peer.MaxMessage})
	f.hop.sent = func() { close(f.stdinSent) }
	f.stdin.attach(&f.hop.link, &proto.Extensions{MaxMessage: f.agreed.MaxMessage})
	f.stdoutReceipt.attach(&f.hop.link)
	f.stderrReceipt.attach(&f.hop.link)
	f.pump(c.stdin, senderWriter{f.stdin})
	f.pump(f.stdout, outputWriter{f, c.stdout})
	f.pump(f.stderr, outputWriter{f, c.stderr})
	c.requests.begin()
	go f.read() // Ends when the next hop's connection is closed.
}

// pump carries what comes over one connection to the other.
func (f *forward) pump(from *flow.Buffer, to streamWriter) {
	from.PumpTo(to, func(err error) {
		if err == io.EOF {
			to.end()
		}
	})
}

// streamWriter takes the bytes of a stream, and its end.
type streamWriter interface {
	io.Writer
	end()
}

// senderWriter passes bytes to a sender.
type senderWriter struct{ *sender }

func (w senderWriter) Write(p []byte) (int, error) { return w.write(p) }

// outputWriter passes output to the client. Before that it tells which bytes the client does not get.
type outputWriter struct {
	f *forward
	*sender
}

func (w outputWriter) Write(p []byte) (int, error) {
	w.f.tellSkipped()
	return w.write(p)
}

// skip remembers which bytes the client does not get, according to the next hop.
func (f *forward) skip(m proto.Skipped) {
	f.skipMu.Lock()
	defer f.skipMu.Unlock()
	f.skipped = &m
}

// tellSkipped tells the client what was remembered.
func (f *forward) tellSkipped() {
	f.skipMu.Lock()
	defer f.skipMu.Unlock()
	if f.skipped != nil && f.peer.Session {
		_ = f.send(*f.skipped) // If this fails the connection is lost.
	}
	f.skipped = nil
}

// ack passes the client's acknowledgment of output on. The next hop checks it.
func (f *forward) ack(ack proto.Ack) {
	if ack.Stdout > 0 {
		f.stdoutReceipt.send(ack.Stdout)
	}
	if ack.Stderr > 0 {
		f.stderrReceipt.send(ack.Stderr)
	}
}

// request passes a request on, with the client's number. It waits until that is written, and for the end of stdin until all of
// stdin is.
func (f *forward) request(m any) error {
	if _, ok := m.(proto.CloseStdin); ok {
		f.conv.stdin.Close(io.EOF)
		select {
		case <-f.stdinSent:
		case <-f.done:
			return errNoReceiver
		}
	}
	err := f.hop.send(m)
	if err != nil {
		f.hop.fail(err)
	}
	return err
}

// read passes the next hop's messages on until its connection ends, or is kept for another conversation.
func (f *forward) read() {
	err := f.readEnd()
	close(f.ends)
	if !f.telling {
		close(f.idle)
	}
	if err == nil {
		// To read on is to answer the ping by which the next hop asks whether the client has read everything.
		select {
		case <-f.heard:
		case <-f.done:
		}
		if !f.rests.CompareAndSwap(false, true) {
			return
		}
		for err == nil {
			_, _, err = f.hop.read(proto.StdoutHeader)
		}
	}
	f.ended <- err
}

// readEnd passes messages on, and returns nil after the last one.
func (f *forward) readEnd() error {
	for {
		data, msg, err := f.hop.read(proto.StdoutHeader)
		if _, unknown := errors.AsType[proto.UnknownTypeError](err); unknown {
			continue
		}
		if err != nil {
			return xerrors.Errorf("read message: %w", err)
		}
		last := false
		switch msg := msg.(type) {
		case nil:
			err = f.receive(data)
		case *proto.Ack:
			f.hopAck(msg)
		case proto.Skipped:
			f.skip(msg)
		case proto.ExitCode:
			f.release()
			last = !msg.Pending
			f.hasEnded(msg)
		case proto.End:
			last = true
			f.hasEnded(msg)
		}
		if last || err != nil {
			return violation(err)
		}
	}
}

func (f *forward) receive(data bulk) error {
	switch data.stream {
	case proto.TypeStdout:
		return f.stdout.Fill(data.body, f.done)
	case proto.TypeStderr:
		return f.stderr.Fill(data.body, f.done)
	}
	_, err := io.Copy(io.Discard, data.body)
	return err
}

// hopAck passes the next hop's acknowledgment of stdin and requests on. The client checks it.
func (f *forward) hopAck(ack *proto.Ack) {
	if ack.Stdin > 0 {
		f.conv.stdinReceipt.send(ack.Stdin)
	}
	if ack.Seq > 0 {
		f.conv.requestReceipt.send(ack.Seq)
	}
}
