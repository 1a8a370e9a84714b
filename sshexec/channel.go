package sshexec

import (
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// channel is a session on a connection.
type channel struct {
	ssh.Channel
	sessions *sessions
	place    *place // nil for the warden's

	exited   chan struct{} // closed when result is set
	result   error         // what Wait returns; nil for exit code 0
	exitOnce sync.Once

	closed   chan struct{} // closed when the server has closed the session, or the connection is lost
	dropped  chan struct{} // closed when this end has no more use for the session
	dropOnce sync.Once
	counted  bool // sessions counts it as closed; guarded by the lock of sessions

	// end returns nil if the outputs have really ended, and else the error of the lost connection. An output returns
	// io.EOF in both cases.
	end func() error
}

func newChannel(inner ssh.Channel, s *sessions, at *place) *channel {
	ch := &channel{
		Channel:  inner,
		sessions: s,
		place:    at,
		exited:   make(chan struct{}),
		closed:   make(chan struct{}),
		dropped:  make(chan struct{}),
	}
	ch.end = sync.OnceValue(ch.probe)
	return ch
}

// probe asks the server for an answer. All that it sent before has come by then.
func (ch *channel) probe() error {
	if _, _, err := ch.sessions.client.SendRequest(keepAlive, true, nil); err != nil {
		return lost(xerrors.Errorf("read: %w", err))
	}
	return nil
}

// keepAlive is a request that servers refuse. The refusal is an answer.
const keepAlive = "keepalive@openssh.com"

// terminal is the body of a pty-req request (RFC 4254 section 6.2).
type terminal struct {
	Type          string
	Cols, Rows    uint32
	Width, Height uint32 // in pixels; 0 means unknown
	Modes         string
}

// exec has the host's login shell run the line. It runs in a terminal if t is not nil.
func (ch *channel) exec(line string, t *terminal) error {
	if ch.sessions.dropbear {
		ch.sessions.confirmAll()
	}
	if t != nil {
		if err := ch.request("pty-req", ssh.Marshal(t)); err != nil {
			return err
		}
	}
	return ch.request("exec", ssh.Marshal(struct{ Line string }{line}))
}

// request makes a request that the server must grant.
func (ch *channel) request(name string, payload []byte) error {
	ok, err := ch.SendRequest(name, true, payload)
	if err != nil {
		return lost(xerrors.Errorf("send %s: %w", name, err))
	}
	if !ok {
		return &wsep.StartError{Err: xerrors.Errorf("host refuses %s", name)}
	}
	return nil
}

// listen handles the server's requests until the session is closed.
func (ch *channel) listen(requests <-chan *ssh.Request) {
	defer ch.sessions.remove(ch)
	defer close(ch.closed)
	for r := range requests {
		ch.take(r)
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
	if !isClosed(ch.exited) {
		ch.exit(ch.unknownExit())
	}
}

// take handles a request that reports the exit.
func (ch *channel) take(r *ssh.Request) {
	switch r.Type {
	case "exit-status":
		var status struct{ Code uint32 }
		if ssh.Unmarshal(r.Payload, &status) == nil {
			ch.exit(exitError(status.Code))
		}
	case "exit-signal":
		var signaled exitSignal
		if ssh.Unmarshal(r.Payload, &signaled) == nil {
			ch.exit(signaled.err())
		}
	}
}

func (ch *channel) exit(result error) {
	ch.exitOnce.Do(func() {
		ch.result = result
		close(ch.exited)
		ch.sessions.ends(ch)
	})
}

// unknownExit returns the result of a program whose exit the server has not reported.
func (ch *channel) unknownExit() error {
	if err := ch.end(); err != nil {
		return err
	}
	return lost(xerrors.New("host has closed the session without telling how the command ended"))
}

// drop closes the session, without waiting for the server. Reads of its outputs fail.
func (ch *channel) drop() {
	ch.dropOnce.Do(func() {
		close(ch.dropped)
		ch.sessions.ends(ch)
		ch.sessions.beginClose()
		// Ends when the message is written, at the latest when the connection is closed.
		go func() {
			_ = ch.Close()
			ch.sessions.closedHere(ch)
		}()
	})
}
