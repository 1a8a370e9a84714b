package wsep

import (
	"io"

	"cdr.dev/wsep/internal/proto"
)

// How the forwarding of a conversation ends: what the client is told, and what becomes of the next hop's connection.

// hopError says that the connection to the next hop is lost, or could not be made. The client's is closed with its code.
type hopError struct {
	err  error
	code int
}

func (e *hopError) Error() string  { return "next hop: " + e.err.Error() }
func (e *hopError) Unwrap() error  { return e.err }
func (e *hopError) closeCode() int { return e.code }

// hopLost returns what Serve returns when the connection to the next hop has ended early. What is final for this client of the
// next hop is final for its own client. Anything else makes the client come back at once.
func hopLost(err error) error {
	code, _, _ := peerClose(err)
	switch code {
	case statusProtocolError, statusPolicy, statusTooBig, statusTaken:
	default:
		code = statusRestart
	}
	return &hopError{disconnected(err), code}
}

// leavingError says that a Server that forwards a conversation ends, and that the conversation goes on without it.
type leavingError struct{ err error }

func (e *leavingError) Error() string  { return e.err.Error() }
func (e *leavingError) Unwrap() error  { return e.err }
func (e *leavingError) closeCode() int { return statusRestart }

func (f *forward) hasEnded(m any) {
	select {
	case f.ends <- m:
	case <-f.done:
	}
	if !f.telling {
		f.telling = true
		go f.tell() // Ends when the client was told everything, or with forward.
	}
}

// tell tells the client of the end. The last message follows the last byte of output.
func (f *forward) tell() {
	defer close(f.idle)
	for m := range f.ends {
		exit, ok := m.(proto.ExitCode)
		last := !ok || !exit.Pending
		if last && !f.awaitOutput() {
			return
		}
		f.tellSkipped()
		if err := f.tellEnd(m); err != nil {
			f.lose(err)
			return
		}
		if last {
			close(f.told)
			f.awaitRead()
		}
	}
}

// awaitOutput waits until all output has been sent. It reports whether that is so.
func (f *forward) awaitOutput() bool {
	f.stdout.Close(io.EOF)
	f.stderr.Close(io.EOF)
	select {
	case <-f.sentBoth:
		return true
	case <-f.done:
		return false
	}
}

// awaitRead waits until the client has read the last message. Most clients close the connection at once.
func (f *forward) awaitRead() {
	await(nil, f.done, askDelay)
	if f.answers(f.phase) {
		close(f.heard)
	}
}

// clientLeft acts on the end of the client's connection. err is nil if the client has closed it for good: that is the only way to
// end the conversation at the next hop.
func (f *forward) clientLeft(err error) error {
	if err == nil {
		f.final = true
		if f.keepHop() {
			return nil
		}
		f.hop.close(true)
		if !f.reuse.done.Load() { // Else this Serve goes on.
			await(f.hop.closed, nil, goodbyeGrace)
		}
		return nil
	}
	return err
}

// keepHop keeps the next hop's connection for another conversation, and reports whether it does. That takes a client that has been told
// everything, and a connection that nobody reads or writes.
func (f *forward) keepHop() bool {
	if f.keep == nil || f.hop.marks.mark == "" || !f.reuse.last.Load() {
		return false
	}
	await(f.told, nil, lastWriteGrace)
	f.leaveHop()
	if !isClosed(f.told) || !f.hop.tryLeave() || !f.rests.CompareAndSwap(false, true) {
		return false
	}
	f.hop.endUse()
	f.keep(newIdleConn(f.hop))
	return true
}

// leaveHop sends nothing more to the next hop.
func (f *forward) leaveHop() {
	f.stdin.detach(&f.hop.link)
	f.stdoutReceipt.detach()
	f.stderrReceipt.detach()
}

// lastWord returns why the client's connection has ended, after a write to it has failed with err: nil if the client had closed
// it for good before.
func (f *forward) lastWord(err error) error {
	await(f.closed, nil, goodbyeGrace)
	if f.hasLeft() {
		return nil
	}
	return disconnected(err)
}

// hopLeft acts on the end of the next hop's connection.
func (f *forward) hopLeft(err error) error {
	if isClosed(f.heard) {
		return nil // The next hop waits no longer for the client to close.
	}
	if gone := f.hop.gone.Load(); gone != nil {
		err = *gone
	}
	await(f.idle, f.phase.Done(), lastWriteGrace) // The next hop may have said why.
	return hopLost(err)
}

// close ends the flow. The next hop then waits for the client, if the client has not closed the conversation.
func (f *forward) close() {
	close(f.done)
	f.drop()
	f.leaveHop()
	f.stdin.release()
}

// drop drops the next hop's connection. Without a close frame, unless the client has ended the conversation.
func (f *forward) drop() {
	f.release()
	f.hop.endUse()
	if !f.final {
		_ = f.hop.conn.CloseNow()
	}
}
