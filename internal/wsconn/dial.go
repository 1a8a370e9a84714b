package wsconn

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"

	"github.com/coder/websocket"
	"golang.org/x/xerrors"
)

// StatusError is a handshake that was answered with another HTTP status than 101.
type StatusError struct {
	Status int
	Line   string // the first line of the answer's body, as it came, of which there may be none
	err    error
}

func (e *StatusError) Error() string { return e.err.Error() }
func (e *StatusError) Unwrap() error { return e.err }

// FinalError is a handshake that would fail again: the request can't be sent, or its answer is no WebSocket's.
type FinalError struct{ err error }

func (e *FinalError) Error() string { return e.err.Error() }
func (e *FinalError) Unwrap() error { return e.err }

// answerError returns the error of a handshake with what its answer, of which there may be none, says of it.
func answerError(resp *http.Response, err error) error {
	switch {
	case resp == nil:
		return err
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return &FinalError{err}
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxLine)) // The library has read it already.
	line, _, _ := strings.Cut(string(body), "\n")
	return &StatusError{resp.StatusCode, strings.TrimSpace(line), err}
}

// maxLine bounds a StatusError's Line, in bytes.
const maxLine = 256

// Dial connects to a WebSocket, by a connection of its own. Its frames are sent with one write each. A client of nil means
// http.DefaultClient. The error of a handshake that was answered with another status than 101 has a *StatusError in its chain,
// and one of a handshake that would fail again for another reason a *FinalError, as far as that is known.
func Dial(ctx context.Context, url string, header http.Header, subprotocols []string, client *http.Client) (*CoderConn, error) {
	if client == nil {
		client = http.DefaultClient
	}
	joining := *client
	joining.Transport = joiningTransport{client.Transport}
	if joining.CheckRedirect == nil {
		joining.CheckRedirect = fewRedirects
	}
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient:      &joining,
		HTTPHeader:      header,
		Subprotocols:    subprotocols,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, answerError(resp, err)
	}
	return Coder(conn), nil
}

// maxRedirects is how many redirects are followed, as by http.Client. The library puts a function of its own in that one's
// place.
const maxRedirects = 10

func fewRedirects(_ *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return &FinalError{xerrors.Errorf("stopped after %d redirects", maxRedirects)}
	}
	return nil
}

// joiningTransport is a RoundTripper whose upgraded connections are new, and join the pieces of frames. next is nil for
// http.DefaultTransport.
type joiningTransport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t joiningTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	next, pooling := connectingAnew(t.next)
	connecting := false
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GetConn: func(string) { connecting = true }})
	resp, err := next.RoundTrip(r.WithContext(ctx))
	switch {
	case err == nil:
	case pooling && !connecting && r.Context().Err() == nil:
		return nil, &FinalError{err} // The request itself is refused.
	default:
		return nil, err
	}
	if conn, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &joinedBody{ReadWriteCloser: conn, joiner: joiner{w: conn}}
	}
	return resp, nil
}

// connectingAnew returns a RoundTripper whose connections are not from a pool, if t is one that has a pool. What has died in
// a pool without a word would take a handshake, and answer nothing, until that times out.
func connectingAnew(t http.RoundTripper) (anew http.RoundTripper, ok bool) {
	if t == nil {
		t = http.DefaultTransport
	}
	pooling, ok := t.(*http.Transport)
	if !ok || pooling.DisableKeepAlives {
		return t, ok
	}
	// Not kept, since its original may be changed.
	clone := pooling.Clone()
	clone.DisableKeepAlives = true
	return clone, true
}

// joinedBody is the body of an upgraded response, which is its connection.
type joinedBody struct {
	io.ReadWriteCloser
	joiner joiner
}

// Write implements io.Writer.
func (b *joinedBody) Write(p []byte) (int, error) { return b.joiner.Write(p) }

// Accept accepts a WebSocket. Its frames are sent with one write each. The caller has checked the origin.
func Accept(w http.ResponseWriter, r *http.Request, subprotocols []string) (*CoderConn, error) {
	conn, err := websocket.Accept(joiningWriter{w}, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		Subprotocols:       subprotocols,
		// It would cost more time than it saves, and tells about content (CRIME).
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	return Coder(conn), nil
}

// joiningWriter is a ResponseWriter whose connection, when it is taken over, joins the pieces of frames.
type joiningWriter struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (w joiningWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	j := &joinedConn{Conn: conn, joiner: joiner{w: conn}}
	// The handshake's response has been flushed by Hijack.
	rw.Writer = bufio.NewWriterSize(j, smallBuffer)
	if rw.Reader.Buffered() == 0 {
		// In its place, for the server's goroutine, which lives as long as its handler, keeps the reader.
		*rw.Reader = *bufio.NewReaderSize(conn, smallBuffer)
	}
	return j, rw, nil
}

// smallBuffer is the size of a connection's buffers. Larger reads and writes pass them by, and there are many idle
// connections.
const smallBuffer = 512

// joinedConn is a connection taken over from a server.
type joinedConn struct {
	net.Conn
	joiner joiner
}

// Write implements io.Writer.
func (c *joinedConn) Write(p []byte) (int, error) { return c.joiner.Write(p) }
