package wsep

import (
	"context"
	"net/http"
	"time"

	"cdr.dev/wsep/internal/idle"
	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wsconn"
)

// Dialer is an [Execer] that opens a connection for every command, or uses one again that an earlier command has left: see MaxIdle.
// Given to a [Server] or a [Handler] it chains: the commands of the server's clients run at the URL. A Dialer is safe for
// concurrent use while nobody changes its fields.
type Dialer struct {
	// URL is the address of the peer's [Handler]: ws://, wss://, http:// or https://.
	URL string
	// Header is sent with the handshake, for example to authenticate. It is read, never written.
	Header http.Header
	// Subprotocols are offered in the handshake.
	Subprotocols []string
	// HTTPClient makes the handshake. nil means [http.DefaultClient]. If its Transport is an [http.Transport], the
	// connection is never taken from its pool. Its Timeout bounds the handshake alone. The handshake takes at most 30
	// seconds in any case.
	HTTPClient *http.Client
	// Resume is how long a process waits for a new connection when its connection is lost. The server may grant less. While
	// a process waits, reads of its output wait, writes to its stdin wait once the server's window is full, and Signal,
	// Resize and Close are sent later. The end of Start's context ends the wait. The server learns of it if a connection can
	// be made within five seconds; else it ends the process when the time that it granted is over. When no connection can be made in time, or the server refuses, the process's
	// error matches [ErrResumeFailed]. The default is one minute; below a second, and so a negative value, a process ends
	// with its connection. Nothing is lost or done twice by a new connection.
	Resume time.Duration
	// Dial, if set, makes the connections. URL, Header, Subprotocols and HTTPClient are then not used. An error that is a
	// [StartError] says that another try does not help. If the connection is lost before the server has answered a start, the
	// command is started again only if the Conn has a method ServerMark() string. It returns the value of the header
	// Wsep-Server in the answer to the handshake.
	Dial func(context.Context) (Conn, error)
	// MaxIdle is how many connections are kept for later commands, once they have carried one to its end. A start over such a
	// connection takes one round trip, and no handshake. It is kept for Dialers with the same URL, Header, Subprotocols and
	// HTTPClient, or with the same Dial, and for no others. A negative value keeps none. 0 means 2. But it means none for a
	// Dialer with Dial, with a Jar in its HTTPClient, or with a Transport that is no [http.Transport]: the connection may then
	// depend on the context of its start. A Dialer without Resume keeps none, since a lost start could not be repeated. The
	// server may refuse to be kept: see [Options.MaxLife]. A gateway that forwards pings a kept connection before each start.
	MaxIdle int
	// IdleTimeout is how long a connection is kept for a later command. 0 or less means 30 seconds. A connection that has rested
	// for some seconds is pinged before it is used. See also [Dialer.CloseIdleConnections].
	IdleTimeout time.Duration
	// KeepAlive is how often a silent server is pinged. A connection whose server is silent for two intervals is lost. The
	// default is 15 seconds; a negative value turns pings off. Servers of a version without flow control are not pinged.
	KeepAlive time.Duration
	// OnConnection, if set, is called when a process's connection is lost, before each try to replace it, and when the
	// process goes on over a new one. For one process the calls come one after the other. OnConnection must not wait. It is not
	// called for processes that a [Server] forwards: see [Forwarder].
	OnConnection func(ConnectionEvent)
}

const defaultResume = time.Minute

// handshakeTimeout bounds connecting and the handshake together.
const handshakeTimeout = 30 * time.Second

// KeepsSessions implements [SessionKeeper].
func (Dialer) KeepsSessions() bool { return true }

// Start implements [Execer]. If no connection can be made, no command was started, and the error says whether a later try
// may succeed:
//
//   - a [StartError]: another try does not help. The URL or Header can't be used, the server's certificate can't be
//     verified, or the server did not answer the handshake as a WebSocket server does, with HTTP status 101. The text has
//     the status and the first line of the answer. Statuses 401 and 403 match [fs.ErrPermission];
//   - a [StartError] that matches [ErrBusy]: status 429 or 503;
//   - an error that matches [ErrDisconnected]: nothing listens there, no answer came in time, the host's name is unknown
//     (it may be new, or this machine may be offline), or the status is 408, 502 or 504. If the context has ended, the
//     error matches the context's error too.
func (d Dialer) Start(ctx context.Context, c Command) (Process, error) {
	r := d.resumer(c)
	forwards := forwardingOf(ctx)
	if r.limit == 0 {
		forwards = nil
	}
	start, err := r.firstStart(forwards)
	if err != nil {
		return nil, &StartError{err}
	}
	if err := d.check(); err != nil {
		return nil, &StartError{err}
	}
	rested := trusted
	if forwards != nil || idle.Probes(ctx) {
		rested = 0 // The client is asked to come back if this start is lost. So it is not risked.
	}
	conn, err := d.connection(ctx, r, rested)
	if err != nil {
		return nil, err
	}
	if r.limit == 0 {
		r = nil
	}
	p := newRemoteProcess(c, r)
	p.pinging = d.pinging()
	forwards.begin(p)
	if err := p.start(ctx, conn, start); err != nil {
		return nil, err
	}
	return p, nil
}

// resumeLimit returns how long a lost connection is waited for, in full seconds. 0 means not at all.
func (d Dialer) resumeLimit() time.Duration {
	if d.Resume == 0 {
		return defaultResume
	}
	return max(0, d.Resume.Truncate(time.Second))
}

// pinging returns how often a silent server is pinged. A negative value means not at all.
func (d Dialer) pinging() time.Duration {
	if d.KeepAlive == 0 {
		return defaultKeepAlive
	}
	return d.KeepAlive
}

// check returns an error unless connections can be tried.
func (d Dialer) check() error {
	if d.Dial != nil {
		return nil
	}
	return checkURL(d.URL)
}

// connect makes a connection.
func (d Dialer) connect(ctx context.Context) (Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	dial := d.Dial
	if dial == nil {
		dial = func(ctx context.Context) (Conn, error) {
			return wsconn.Dial(ctx, d.URL, d.Header, d.Subprotocols, d.HTTPClient)
		}
	}
	conn, err := dial(dialing)
	if err != nil {
		return nil, dialError(ctx, err)
	}
	return conn, nil
}

// resumer returns what encodes a command's start message, and replaces its lost connections if its limit is not 0.
func (d Dialer) resumer(c Command) *resumer {
	r := &resumer{dial: d.connect, offered: offer, limit: d.resumeLimit(), tell: d.OnConnection}
	r.offered.Resume = int64(r.limit / time.Second)
	r.offered.Reuse = r.limit > 0 && d.maxIdle() > 0
	r.offered.ZeroMask = true
	if r.offered.Reuse {
		r.keep = d.keepIdle
	}
	r.encode = func(key *proto.Key) ([]byte, error) {
		if r.limit == 0 {
			key = nil
		}
		return encodeStart(c, &r.offered, key)
	}
	return r
}
