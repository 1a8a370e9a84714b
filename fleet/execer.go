package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/idle"
)

// Execer is a gateway's: it runs commands at the nodes of a fleet.
//
//	http.Handle("/", &wsep.Handler{Execer: fleet.Execer{View: view, Keys: keys, TLS: config}, Authorize: authorize})
//
// The owner that Handler.Authorize returns is the owner of names and sessions. A command's ID is a session's [ID], or a name. An
// Execer is safe for concurrent use while nobody changes its fields.
//
// A start with a name attaches to the session that has it, or places a new session and claims the name. A start with an ID only
// attaches. A command without ID is placed and is no session. If the registry can't be reached, starts with IDs, with names that the
// View knows, and without ID go on; others fail with [ErrNoRegistry].
type Execer struct {
	// View is what the gateway knows of the fleet. It is required, and must run.
	View *View
	// Keys is the fleet's ring. It is required.
	Keys Keys
	// TLS is the configuration of connections to nodes: see [GatewayTLS]. It is required, unless Local is the only node.
	TLS *tls.Config
	// Local, if set, is the node of this program. It is reached without a network.
	Local *Local
	// Placer chooses nodes. nil means BestOfThree{}.
	Placer Placer
	// LostAfter is how long a node is lost before a start takes its names. 0 means one minute. All gateways should have the same.
	LostAfter time.Duration
	// Resume is [wsep.Dialer.Resume] towards nodes.
	Resume time.Duration
	// Metrics counts. nil counts nothing.
	Metrics *Metrics
}

var (
	_ wsep.Forwarder      = Execer{}
	_ wsep.SessionKeeper  = Execer{}
	_ wsep.SessionManager = Execer{}
)

const (
	defaultLostAfter = time.Minute
	// connectTimeout bounds connecting to a node. With its answer to the handshake, it has twice as long. A node that is stopped does not
	// answer.
	connectTimeout = 3 * time.Second
	// placeTries bounds at how many nodes a start is tried.
	placeTries = 3
	// restartLimit bounds for how long clients that attach wait for a node whose program starts again. Such a node has left the fleet if
	// its program has ended in order.
	restartLimit = 3 * time.Second
	// retryPause is how long a gateway waits before it tries the same again.
	retryPause = 50 * time.Millisecond
)

// ErrUnreachable is matched by the error of a session whose node can't be reached. The session may live. The error matches
// [wsep.ErrDisconnected] too.
var ErrUnreachable = xerrors.New("node is unreachable")

type unreachableError struct {
	node  string
	cause error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("node %s is unreachable: %v", e.node, e.cause)
}
func (e *unreachableError) Unwrap() error { return e.cause }
func (e *unreachableError) Is(target error) bool {
	return target == ErrUnreachable || target == wsep.ErrDisconnected
}

// KeepsSessions implements wsep.SessionKeeper.
func (Execer) KeepsSessions() bool { return true }

// Peers implements wsep.Forwarder. A node that is lost is one of them until its names are given away: its commands may live.
func (e Execer) Peers(ctx context.Context) (peers []wsep.Dialer, err error) {
	known := e.View.await(ctx)
	if known != nil && e.Local == nil {
		return nil, known
	}
	local := false
	for _, r := range e.View.notLostFor(e.lostAfter()) {
		peers = append(peers, e.dialer(r.Name, r.Address))
		local = local || e.Local.is(r.Name)
	}
	if e.Local != nil && !local {
		peers = append(peers, e.dialer(e.Local.node, ""))
	}
	if known != nil { // Nodes that are not known stand for a peer that is away. So nobody says that a conversation is lost.
		peers = append(peers, wsep.Dialer{Dial: func(context.Context) (wsep.Conn, error) { return nil, known }})
	}
	return peers, nil
}

func (e Execer) lostAfter() time.Duration {
	if e.LostAfter == 0 {
		return defaultLostAfter
	}
	return e.LostAfter
}

// Start implements wsep.Execer.
func (e Execer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p, err := e.start(ctx, c)
	e.Metrics.refused(ctx, sideGateway, err)
	return p, err
}

func (e Execer) start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	owner, id := splitOwned(c.ID)
	if err := e.await(ctx, id); err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	switch {
	case id == "" || !c.TTY && c.Keep <= 0 && c.Command != "": // Not a session.
		c.ID = ""
		return e.place(ctx, owner, c)
	case IsID(id):
		return e.attach(ctx, c, hop{Owner: owner, ID: id}, byID)
	}
	return e.startNamed(ctx, c, owner, id)
}

// await waits until the fleet is known. For an ID of this program's node that is not needed.
func (e Execer) await(ctx context.Context, id string) error {
	if parsed, err := ParseID(id); err == nil && e.Local.is(parsed.Node) {
		return nil
	}
	return e.View.await(ctx)
}

// connecting travels in the context of a start. It learns whether the node has answered over a new connection: before that nothing is
// asked of it.
type connecting struct{ began, answered atomic.Bool }

type connectingKey struct{}

func (c *connecting) failed() bool { return c.began.Load() && !c.answered.Load() }

// in returns the context of a start.
func (c *connecting) in(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(context.WithValue(ctx, connectingKey{}, c), &httptrace.ClientTrace{
		GotFirstResponseByte: func() { c.answered.Store(true) },
	})
}

// at starts a command at a node.
func (e Execer) at(ctx context.Context, node string, c wsep.Command) (p wsep.Process, connected bool, err error) {
	d, err := e.to(node)
	if err != nil {
		return nil, false, &wsep.StartError{Err: err}
	}
	var state connecting
	// A start that is lost with a kept connection would be repeated there only. So it is not risked.
	p, err = d.Start(idle.Probing(state.in(ctx)), c)
	if !state.failed() || err == nil || ctx.Err() != nil {
		return p, true, err
	}
	e.View.noteFailure(node)
	return nil, false, &wsep.StartError{Err: &unreachableError{node, err}}
}

// to returns a Dialer to a node that need not be there now.
func (e Execer) to(node string) (wsep.Dialer, error) {
	address, err := e.address(node)
	if err != nil {
		return wsep.Dialer{}, err
	}
	return e.dialer(node, address), nil
}

// address returns where a node is, or was last seen. The node of this program needs no address.
func (e Execer) address(node string) (string, error) {
	address := e.View.address(node)
	if address == "" && !e.Local.is(node) {
		return "", &unreachableError{node, xerrors.New("its address is unknown")}
	}
	return address, nil
}

// dialer returns a Dialer to a node.
func (e Execer) dialer(node, address string) wsep.Dialer {
	d := e.View.dialer(link{e.TLS, e.Local, node, address}, func() wsep.Dialer {
		return wsep.Dialer{URL: e.url(node), MaxIdle: linksIdle, IdleTimeout: linkIdle, HTTPClient: e.client(node, address)}
	})
	d.Resume = e.Resume
	return d
}

// url returns the URL of a node. The address to connect to is known to client.
func (e Execer) url(node string) string {
	if e.Local.is(node) {
		return "http://" + hostOf(node, RoleNode)
	}
	return "https://" + hostOf(node, RoleNode)
}

// client returns an HTTP client that connects to a node. The server there must have the node's certificate, unless it is in this
// program.
func (e Execer) client(node, address string) *http.Client {
	connect := e.Local.dial
	if !e.Local.is(node) {
		config := e.TLS.Clone()
		config.ServerName = hostOf(node, RoleNode)
		connect = func(ctx context.Context) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
		}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialing, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		if state, ok := ctx.Value(connectingKey{}).(*connecting); ok {
			state.began.Store(true)
		}
		return connect(dialing)
	}
	return &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial, DialTLSContext: dial},
		Timeout:   2 * connectTimeout,
	}
}

// attach attaches to a session. by is what it was found by, as Metrics call it.
func (e Execer) attach(ctx context.Context, c wsep.Command, h hop, by string) (wsep.Process, error) {
	id, err := e.Keys.Ring().Verify(h.ID, h.Owner)
	if err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	c.ID, c.Command, c.Args = h.String(), "", nil
	p, err := e.attachAt(ctx, id.Node, c)
	if err == nil {
		e.Metrics.attached(by, e.path(id.Node))
	}
	return p, err
}

// attachAt attaches to a session of a node. It waits for a node whose program starts again. It repeats an attach that was lost with that
// program, at least once. Attaching starts nothing, so it may be repeated.
func (e Execer) attachAt(ctx context.Context, node string, c wsep.Command) (wsep.Process, error) {
	lost := 0
	for began := time.Now(); ; sleep(ctx, retryPause) {
		p, connected, err := e.at(ctx, node, c)
		early := time.Since(began) <= restartLimit
		again := !connected && early && e.View.mayReturn(node, restartLimit)
		if isLostStart(err) {
			lost++
			again = early || lost == 1
		}
		if err == nil || ctx.Err() != nil || !again {
			return p, err
		}
	}
}

// sleep waits, at most until the context ends.
func sleep(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

// path returns how a node is reached, as Metrics call it.
func (e Execer) path(node string) string {
	if e.Local.is(node) {
		return pathLocal
	}
	return pathHop
}

// place starts a command at a node that takes it. It tries another node only if the command has certainly not started.
func (e Execer) place(ctx context.Context, owner string, c wsep.Command) (p wsep.Process, err error) {
	tried := map[string]bool{}
	err = errNoNode
	for range placeTries {
		node, ok := e.choose(owner, c, tried)
		if !ok {
			break
		}
		tried[node] = true
		arrived := e.View.coming(node)
		var connected bool
		p, connected, err = e.at(ctx, node, c)
		arrived()
		if err == nil {
			e.Metrics.started(kindOf(c), e.path(node))
		}
		if err == nil || connected && !errors.Is(err, wsep.ErrBusy) || ctx.Err() != nil {
			return p, err
		}
	}
	return nil, err
}

// kindOf returns what a command starts, as Metrics call it.
func kindOf(c wsep.Command) string {
	if c.ID == "" {
		return kindCommand
	}
	return kindSession
}

var errNoNode error = &wsep.StartError{Err: xerrors.Errorf("no node starts commands: %w", wsep.ErrBusy)}

func (e Execer) choose(owner string, c wsep.Command, tried map[string]bool) (string, bool) {
	fit := slices.DeleteFunc(e.View.Nodes(), func(n Candidate) bool { return n.State != NodeReady || tried[n.Name] })
	if len(fit) == 0 {
		return "", false
	}
	placer := e.Placer
	if placer == nil {
		placer = BestOfThree{}
	}
	return placer.Place(owner, c, fit)
}

// WaitSession implements wsep.SessionManager.
func (e Execer) WaitSession(ctx context.Context, id string) error {
	return e.ask(ctx, id, func(d wsep.Dialer, id string) error { return d.WaitSession(ctx, id) })
}

// CloseSession implements wsep.SessionManager.
func (e Execer) CloseSession(ctx context.Context, id, reason string) error {
	return e.ask(ctx, id, func(d wsep.Dialer, id string) error { return d.CloseSession(ctx, id, reason) })
}

// SignalSession implements wsep.SessionManager.
func (e Execer) SignalSession(ctx context.Context, id, signal string) error {
	return e.ask(ctx, id, func(d wsep.Dialer, id string) error { return d.SignalSession(ctx, id, signal) })
}

// ask asks the node that has a session.
func (e Execer) ask(ctx context.Context, text string, question func(d wsep.Dialer, id string) error) error {
	owner, name := splitOwned(text)
	if err := e.await(ctx, name); err != nil {
		return err
	}
	h := hop{Owner: owner, ID: name}
	if !IsID(name) {
		claim, err := e.View.registry.Find(ctx, owner, name)
		if err != nil {
			return err
		}
		h = hop{Owner: owner, Name: name, ID: claim.ID, Revision: claim.Revision}
	}
	id, err := e.Keys.Ring().Verify(h.ID, owner)
	if err != nil {
		return err
	}
	d, err := e.to(id.Node)
	if err != nil {
		return err
	}
	return question(d, h.String())
}
