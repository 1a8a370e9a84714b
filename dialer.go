package wsep

import (
	"context"
	"net/http"
	"time"

	"cdr.dev/wsep/internal/wsconn"
)

// Dialer is an Execer that opens a connection of its own for every command. Given to a Server it chains: what the
// server's clients start runs at the URL. A Dialer is safe for concurrent use while its fields are not changed.
type Dialer struct {
	// URL is where the peer's Handler is: ws://, wss://, http:// or https://.
	URL string
	// Header is sent with the handshake, to authenticate for example. It is read, never written.
	Header http.Header
	// Subprotocols are offered in the handshake.
	Subprotocols []string
	// HTTPClient makes the handshake. nil means http.DefaultClient. If its Transport is an http.Transport the connection
	// is never one from its pool. Its Timeout bounds the handshake alone, which takes at most 30 seconds in any case.
	HTTPClient *http.Client
}

// handshakeTimeout bounds the connecting and the handshake.
const handshakeTimeout = 30 * time.Second

// KeepsSessions implements [SessionKeeper].
func (Dialer) KeepsSessions() bool { return true }

// Start implements Execer. When no connection can be made nothing was started, and the error says whether it may be made
// later:
//
//   - a StartError if trying again does not help. That is the case if the URL or Header can't be used, the server's
//     certificate can't be verified, or the server answers the handshake by another HTTP status than 101, or by what is no
//     WebSocket's handshake. The text has the status and the first line of the answer. Statuses 401 and 403 match
//     fs.ErrPermission;
//   - a StartError that matches ErrBusy for statuses 429 and 503;
//   - an error that matches ErrDisconnected otherwise: nothing listens there, nothing answers in time, the host's name is
//     not known (it may be new, or this machine offline), or the status is 408, 502 or 504. If the context has ended the
//     error matches that, too.
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
