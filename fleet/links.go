package fleet

import (
	"crypto/tls"
	"time"

	"cdr.dev/wsep"
)

// How a gateway keeps connections to nodes. A start that finds a kept connection pings the node, and needs no handshake.
//
// A kept connection can't lead to a wrong shell. The program at its other end has shown the certificate of the node, as for any
// connection. It verifies the ID, the owner and the name of each start anew, against its own name and incarnation. If it is no longer in
// the fleet it can claim no name. A new connection to the same program would be answered in the same way.
//
// Kept connections are closed when the record of their node goes, or gets another address or incarnation: starts are then to go
// to the program of the new record. A connection that carries a command at that moment may be kept after it. Nobody takes it, so it is
// closed linkIdle later.

const (
	// linksIdle is how many connections a gateway keeps to each node. Only a burst of starts needs more.
	linksIdle = 8
	// linkIdle is how long a connection is kept. The node lets it carry no new start when it is five minutes old: it is the default of
	// wsep.Options.MaxLife.
	linkIdle = time.Minute
)

// link is how an Execer connects to a node. Connections of different ones are not shared.
type link struct {
	tls     *tls.Config
	local   *Local
	node    string
	address string
}

// keptLink is a link with a Dialer that keeps its connections.
type keptLink struct {
	link
	dialer wsep.Dialer
}

// dialer returns the Dialer of a link, which connect makes. It keeps connections as long as the node has a record with that address,
// and the View runs.
func (v *View) dialer(l link, connect func() wsep.Dialer) wsep.Dialer {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.nodes[l.node]
	if n == nil || !n.lives || n.record.Address != l.address || v.ended {
		d := connect()
		d.MaxIdle = -1
		return d
	}
	if n.kept == nil || n.kept.link != l {
		n.dropLink()
		n.kept = &keptLink{l, connect()}
	}
	return n.kept.dialer
}

// dropLink closes the connections to the node that are kept. The View's lock is held.
func (n *viewedNode) dropLink() {
	if n.kept != nil {
		n.kept.dialer.CloseIdleConnections()
		n.kept = nil
	}
}

// dropLinks closes all connections that are kept, and keeps none from now on.
func (v *View) dropLinks() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	for _, n := range v.nodes {
		n.dropLink()
	}
}
