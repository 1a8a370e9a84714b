package fleet

import (
	"context"
	"net"
	"sync"
)

// Local is a listener without an address, for the node of a gateway's own program: serve [Node.Handler] on it, and give it to an [Execer]. The
// node decides and verifies as it does for gateways over the network. No other program reaches a Local, so it needs no certificate.
type Local struct {
	node   string
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

var _ net.Listener = (*Local)(nil)

// NewLocal returns a listener for the node with a name.
func NewLocal(node string) *Local {
	l := &Local{node: node, conns: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

// is reports whether the listener is a node's. The receiver may be nil.
func (l *Local) is(node string) bool { return l != nil && l.node == node }

// dial connects to the node.
func (l *Local) dial(ctx context.Context) (net.Conn, error) {
	ours, nodes, err := newPipe()
	if err != nil {
		return nil, err
	}
	select {
	case l.conns <- nodes:
		return ours, nil
	case <-l.closed:
		err = &net.OpError{Op: "dial", Net: "pipe", Addr: l.Addr(), Err: net.ErrClosed}
	case <-ctx.Done():
		err = ctx.Err()
	}
	_, _ = ours.Close(), nodes.Close()
	return nil, err
}

// Accept implements [net.Listener].
func (l *Local) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. It leaves connections as they are.
func (l *Local) Close() error {
	l.close()
	return nil
}

// Addr implements [net.Listener].
func (l *Local) Addr() net.Addr { return localAddr(l.node) }

// localAddr is the address of a Local: the node's name.
type localAddr string

func (localAddr) Network() string  { return "pipe" }
func (a localAddr) String() string { return string(a) }
