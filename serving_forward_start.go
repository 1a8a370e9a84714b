package wsep

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// How a Server forwards a conversation to the next hop, instead of holding it. The next hop holds it, or forwards it in turn.
//
// A Server that forwards has no state that must last. It passes messages on. The client keeps its stdin and its requests until
// the next hop has acknowledged them. The next hop keeps the output, and the exit, until the client has acknowledged the one and
// closed its connection with 1000 after the other. When one of the two connections is lost, the Server drops the other one. The
// client then comes back, here or at another process in this Server's place, with its key and its offsets. From the key follows
// the key at the next hop. So a gateway can be killed at any time.

// Forwarder is an [Execer] whose commands run at peers, as those of a [Dialer] do. A [Server] with such an Execer does not hold
// the conversations of clients that can resume: it forwards them to the peer, if that can resume too. So they survive the end
// of the Server.
//
// Start hands its context to the Start of one of the Dialers, and returns that Process itself, not one around it. An Execer that
// changes what the processes say is no Forwarder. A type that wraps a Forwarder, and passes its processes on as they are, has Peers
// too: a method Unwrap does not make it a Forwarder.
type Forwarder interface {
	Execer
	// Peers returns a Dialer for each peer at which a command may run. All of them are asked when a client resumes.
	Peers(ctx context.Context) ([]Dialer, error)
}

// peersOf returns how to find the peers behind an Execer, or nil if the Server must hold the conversations. Only the Execer
// itself counts, not one that it wraps: the wrapper may also wrap the processes.
func peersOf(e Execer) func(context.Context) ([]Dialer, error) {
	switch e := e.(type) {
	case Dialer:
		return e.peers()
	case *Dialer:
		return e.peers()
	case Forwarder:
		return e.Peers
	}
	return nil
}

func (d Dialer) peers() func(context.Context) ([]Dialer, error) {
	if d.resumeLimit() == 0 {
		return nil
	}
	return func(context.Context) ([]Dialer, error) { return []Dialer{d}, nil }
}

// nextKey returns the key of an owner's conversation at the next hop. It needs no secret of this Server, so another Server in its
// place finds the same. The next hop can't find the client's key. Two owners with the same key have different ones there.
func nextKey(key *proto.Key, owner string) (next proto.Key) {
	mac := hmac.New(sha256.New, key[:])
	_, _ = io.WriteString(mac, "wsep next hop\x00"+owner) // It never fails.
	copy(next[:], mac.Sum(nil))
	return next
}

// forwarding is what a Server that forwards a conversation asks of its Execer's Start. It travels in the context, so that
// wrappers pass it on.
type forwarding struct {
	key     proto.Key        // the one at the next hop
	offered proto.Extensions // what the client offers, within this Server's limits
	process *remoteProcess   // set by Start once it has a connection. Nothing is read there after pid
}

type forwardingKey struct{}

func forwardingOf(ctx context.Context) *forwarding {
	f, _ := ctx.Value(forwardingKey{}).(*forwarding)
	return f
}

// forwardingOf returns how to forward the conversation that a start begins, or nil if this Server must hold it.
func (c *conversation) forwardingOf(start *proto.Start) *forwarding {
	keepsSession := commandOf(start).inSession() && !keepsSessions(c.execer)
	if c.grace == 0 || keepsSession || peersOf(c.execer) == nil {
		return nil
	}
	return &forwarding{key: nextKey(start.Key, c.opts.Owner), offered: nextOffer(start.Extensions, c.grace)}
}

// nextOffer returns what is offered to the next hop for a client. The window is the client's: nothing is kept here.
func nextOffer(client *proto.Extensions, grace time.Duration) proto.Extensions {
	next := offer
	next.Window = min(next.Window, client.Window)
	next.Signal, next.Session = client.Signal, client.Session
	next.Resume = min(client.Resume, int64(grace/time.Second))
	return next
}

// offerWithin returns what a Dialer offers that waits so long at most, and may keep the connection. begin hands it the process that it
// starts. The receiver of begin may be nil.
func (f *forwarding) offerWithin(limit time.Duration, reuse bool) proto.Extensions {
	offered := f.offered
	offered.Resume = min(offered.Resume, int64(limit/time.Second))
	offered.Reuse = reuse && offered.Resume > 0
	return offered
}

func (f *forwarding) begin(p *remoteProcess) {
	if f != nil {
		f.process = p
		p.held, p.window = true, f.offered.Window
	}
}

// errNotPeers says that a Forwarder is none.
var errNotPeers = xerrors.New("execer is a Forwarder, but wraps the process of its Dialer")

// forwards decides who holds the conversation about a command that has started. It returns the process whose connection is to be
// forwarded, or nil if this Server holds the conversation.
func (f *forwarding) forwards(r started) (*remoteProcess, error) {
	switch {
	case f == nil || f.process == nil:
		return nil, nil
	case r.process != Process(f.process):
		_ = r.process.Close()
		f.process.abort(errNotPeers)
		return nil, &StartError{errNotPeers}
	}
	p := f.process
	if p.peer.Resume > 0 && p.peer.Window > 0 && p.peer.Outcome {
		return p, nil
	}
	p.begin(p.current())
	return nil, nil
}

// isLost reports whether a start has failed because the connection to the next hop was lost. The client can find out there
// whether the command has started.
func (f *forwarding) isLost(err error) bool { return f != nil && f.process != nil && isLoss(err) }
