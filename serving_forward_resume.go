package wsep

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// How a client comes back through a gateway that does not hold its conversation.

// forwardTimeout is how long a Server looks for the conversation of a client that resumes. The client waits longer.
const forwardTimeout = 8 * time.Second

var (
	// errForwarded says that another server holds the conversation.
	errForwarded = xerrors.New("conversation is at the next hop")
	// errNotThere says that the next hop does not have the conversation, or can't tell.
	errNotThere = xerrors.New("conversation is not at the next hop")
)

// holds reports whether the Server holds the conversation that a client asks for.
func (srv *Server) holds(m *proto.Resume) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	_, ok := srv.byKey[hashKey(&m.Key)]
	return ok
}

// mayForward reports whether the conversation that a client asks for may be at the next hop.
func (s *serving) mayForward() bool { return s.opts.ResumeTimeout > 0 && peersOf(s.execer) != nil }

// forwardResume takes up a conversation at the next hop. Its error is errNotThere if it is not there.
func (s *serving) forwardResume(ctx context.Context, m *proto.Resume) error {
	if m.Extensions == nil || m.Extensions.Window == 0 || !m.Extensions.Outcome {
		return protocolErrorf("resume with fewer extensions than start")
	}
	hop, resumed, err := s.askPeers(ctx, m)
	if err == errNotThere {
		return err
	}
	if err != nil {
		return s.refuseForwarded(err)
	}
	s.conv = newConversation(s, &proto.Start{Command: proto.Command{TTY: true}})
	s.conv.stdin.Strict = true
	s.conv.requests.resumeAt(resumed.Seq)
	s.conv.live(ctx)
	d := newDrive(ctx, s)
	f := newForward(d, hop.clientLink, resumed.Extensions, s.server.countResumed())
	f.pinging = hop.pinging
	s.conv.forwardTo(f)
	s.adopted.Store(true) // The client may send once it has the answer.
	answer := *resumed
	answer.Extensions = f.accept()
	answer.Server = f.nextMark()
	return d.end(f.run(answer))
}

// countResumed counts a process that runs already. It counts until the result is called.
func (srv *Server) countResumed() (release func()) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.count(1)
	return sync.OnceFunc(srv.release)
}

// refuseForwarded tells the client why the next hop did not take up its conversation.
func (s *serving) refuseForwarded(err error) error {
	if failed, ok := errors.AsType[*StartError](err); ok {
		return s.refuse(failed)
	}
	return s.refuseResume(err)
}

// nextHop is a connection to the next hop.
type nextHop struct {
	*clientLink
	pinging time.Duration // how often a silent next hop is pinged
}

// askPeers asks all peers for a conversation at the same time. It goes on at the first one that has it. That a peer refuses it
// counts only if none has it: two peers may lead to the same server, which refuses the slower one.
func (s *serving) askPeers(ctx context.Context, m *proto.Resume) (*nextHop, *proto.Resumed, error) {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel() // So the peers that have not answered are no longer asked.
	peers, err := peersOf(s.execer)(ctx)
	if err != nil {
		return nil, nil, &hopError{disconnected(err), statusBadGateway}
	}
	answers := make(chan peerAnswer, len(peers))
	for _, d := range peers {
		go func() { answers <- s.askPeer(ctx, d, m) }() // Ends with the answer, or with the context.
	}
	away, refused := errNotThere, error(nil)
	for asked := len(peers); asked > 0; asked-- {
		a := <-answers
		switch _, lost := errors.AsType[*hopError](a.err); {
		case a.err == nil:
			go leaveOthers(answers, asked-1) // Ends when the other peers are no longer asked.
			return a.hop, a.resumed, nil
		case lost:
			away = a.err // That peer may have it. The client asks again.
		case a.err != errNotThere:
			refused = a.err
		}
	}
	if refused != nil {
		return nil, nil, refused
	}
	return nil, nil, away
}

// leaveOthers closes the connections to peers that have answered too late.
func leaveOthers(answers <-chan peerAnswer, count int) {
	for range count {
		if a := <-answers; a.hop != nil {
			a.hop.endUse()
			_ = a.hop.conn.CloseNow()
		}
	}
}

// peerAnswer is what a peer has answered to a client that resumes.
type peerAnswer struct {
	hop     *nextHop
	resumed *proto.Resumed
	err     error
}

// askPeer asks one peer for a conversation.
func (s *serving) askPeer(ctx context.Context, d Dialer, m *proto.Resume) peerAnswer {
	offered := nextOffer(m.Extensions, min(s.opts.ResumeTimeout, d.resumeLimit()))
	ask := *m
	ask.Key, ask.Server, ask.Extensions = nextKey(&m.Key, s.opts.Owner), "", &offered
	l, resumed, err := d.askToResume(ctx, &ask)
	if err != nil {
		return peerAnswer{err: err}
	}
	return peerAnswer{&nextHop{l, d.pinging()}, resumed, nil}
}

// askToResume makes a connection and asks the peer to go on there.
func (d Dialer) askToResume(ctx context.Context, m *proto.Resume) (*clientLink, *proto.Resumed, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, nil, &hopError{disconnected(err), statusBadGateway}
	}
	l := newClientLink(context.Background(), conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseNow() })
	resumed, err := l.ask(m)
	late := !stop()
	if err == nil && !late {
		return l, resumed, nil
	}
	l.endUse()
	_ = conn.CloseNow()
	refused, ok := errors.AsType[*resumeError](err)
	switch {
	case err == nil: // The answer came just as the context ended.
		err = ctx.Err()
	case ok && refused.kind != proto.ResumeUnknown && refused.kind != proto.ResumeBusy: // Busy is a peer that does not have it.
		return nil, nil, err
	case ok, isUnwilling(err), late && serverMark(conn) == "":
		return nil, nil, errNotThere
	}
	return nil, nil, &hopError{disconnected(err), statusBadGateway}
}
