package wsep

import (
	"errors"
	"io"
	"time"

	"cdr.dev/wsep/internal/proto"
)

// How a client handles the messages of its server. The conversation's reader does all of this.

// read serves the conversation until it is over, or the connection is lost and can't be replaced.
func (p *remoteProcess) read(l *clientLink) {
	for {
		err := p.readMessages(l)
		if err == nil {
			p.complete(l)
			return
		}
		if l, err = p.comeBack(l, err); err != nil {
			p.abort(err)
			if p.away {
				p.takeLeave()
			}
			return
		}
	}
}

// complete ends a conversation whose last message has come.
func (p *remoteProcess) complete(l *clientLink) {
	if p.stdin == nil || p.stdin.isIdle() {
		p.part(l) // Before Wait returns: the program may exit then.
	}
	p.setResult(p.exit)
	p.endConversation(io.EOF)
	p.awaitWrite()
	l.close(p.lasting.Load())
}

// readMessages handles messages. It returns nil after the last one, and an error when it can't read another message.
func (p *remoteProcess) readMessages(l *clientLink) error {
	for {
		data, msg, err := l.read(proto.StdoutHeader)
		if _, unknown := errors.AsType[proto.UnknownTypeError](err); unknown {
			continue
		}
		if err != nil {
			return err
		}
		switch msg := msg.(type) {
		case nil:
			err = p.receive(data)
		case *proto.Ack:
			err = p.acknowledged(msg)
		case proto.Skipped:
			p.gaps.stdout.Store(msg.Stdout)
			p.gaps.stderr.Store(msg.Stderr)
			p.gaps.grown()
		case proto.ExitCode:
			p.exit = p.exitOf(msg)
			if !msg.Pending {
				return nil
			}
			p.setResult(p.exit)
			p.final = msg.Kind == kindOf(ErrDisconnected)
		case proto.End:
			if !isClosed(p.done) {
				p.exit = disconnected(protocolErrorf("end without an exit code"))
			}
			return nil
		}
		if err != nil {
			return violation(err)
		}
	}
}

// exitOf returns what Wait returns for an exit message.
func (p *remoteProcess) exitOf(msg proto.ExitCode) error {
	if !p.peer.Outcome {
		msg.Signal = proto.OldSignal(msg)
	}
	return outcomeError(msg)
}

func (p *remoteProcess) receive(data bulk) error {
	switch data.stream {
	case proto.TypeStdout:
		return p.stdout.Fill(data.body, p.ctx.Done())
	case proto.TypeStderr:
		return p.stderr.Fill(data.body, p.ctx.Done())
	}
	_, err := io.Copy(io.Discard, data.body)
	return err
}

func (p *remoteProcess) acknowledged(ack *proto.Ack) error {
	if err := p.requests.acknowledged(ack.Seq); err != nil {
		return err
	}
	if p.stdin == nil {
		return nil
	}
	return p.stdin.sender.ack(ack.Stdin)
}

// awaitWrite waits until a write to stdin that has begun is done. The process may have read those bytes before it exited.
func (p *remoteProcess) awaitWrite() {
	if p.stdin == nil {
		return
	}
	written := make(chan struct{})
	// Ends with the write. Closing the connection ends the write.
	go func() {
		p.stdin.mu.Lock()
		defer p.stdin.mu.Unlock()
		p.stdin.sender.awaitIdle()
		close(written)
	}()
	await(written, nil, lastWriteGrace)
}

// lastWriteGrace is how long a write may delay the closing of a connection.
const lastWriteGrace = time.Second

// setResult records what Wait returns. Only the first call counts.
func (p *remoteProcess) setResult(err error) {
	p.resultOnce.Do(func() {
		p.result = err
		close(p.done)
		if p.stdin != nil {
			p.stdin.shut()
		}
	})
}

// endConversation makes the conversation over. Readers of the outputs get end after the last byte.
func (p *remoteProcess) endConversation(end error) {
	p.overOnce.Do(func() {
		p.stdout.Close(end)
		p.stderr.Close(end)
		p.requests.close()
		p.end()
	})
}

// abort ends the conversation early. If the process still runs, the server ends it.
func (p *remoteProcess) abort(err error) {
	err = disconnected(err)
	if p.lasting.Load() && !isClosed(p.ctx.Done()) {
		p.sayGoodbye()
	}
	p.setResult(err)
	// The output is incomplete, and must not look as if it had ended.
	p.endConversation(err)
	if l := p.current(); l != nil {
		l.close(p.lasting.Load())
	}
}

// sayGoodbye closes the connection and waits a moment for that. If the program exited before, the server would wait for the
// client to come back.
func (p *remoteProcess) sayGoodbye() {
	l := p.current()
	if l == nil {
		return
	}
	l.close(true)
	await(l.closed, nil, goodbyeGrace)
}

// goodbyeGrace is how long a client's last word may take: a process waits so long until its connection is closed, and a server
// that can't write to the client any more so long until it has read what the client said.
const goodbyeGrace = 250 * time.Millisecond
