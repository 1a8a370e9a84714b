package wsep

import (
	"context"
	"net/http"
	"time"

	"cdr.dev/wsep/internal/wsconn"
)

// Dialer is an [Execer] that opens a new connection for every command. Given to a [Server] or a [Handler] it chains: the
// commands of the server's clients run at the URL. A Dialer is safe for concurrent use while nobody changes its fields.
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
}

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
	start, err := encodeStart(c)
	if err != nil {
		return nil, &StartError{err}
	}
	if err := checkURL(d.URL); err != nil {
		return nil, &StartError{err}
	}
	dialing, cancel := context.WithTimeout(ctx, handshakeTimeout)
	conn, err := wsconn.Dial(dialing, d.URL, d.Header, d.Subprotocols, d.HTTPClient)
	cancel()
	if err != nil {
		return nil, dialError(ctx, err)
	}
	return startRemote(ctx, conn, c, start)
}
