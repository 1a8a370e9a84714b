package wsep

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/xerrors"

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

// Start implements Execer. The error of a connection that could not be made matches ErrDisconnected.
func (d Dialer) Start(ctx context.Context, c Command) (Process, error) {
	start, err := encodeStart(c)
	if err != nil {
		return nil, &StartError{err}
	}
	dialing, cancel := context.WithTimeout(ctx, handshakeTimeout)
	conn, err := wsconn.Dial(dialing, d.URL, d.Header, d.Subprotocols, d.HTTPClient)
	cancel()
	if err != nil {
		return nil, disconnected(xerrors.Errorf("dial: %w", err))
	}
	return startRemote(ctx, conn, c, start)
}
