package wsconn

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"

	"github.com/coder/websocket"
	"golang.org/x/xerrors"
)

// StatusError is the error of a handshake with an answer of another HTTP status than 101.
type StatusError struct {
	Status int
	Line   string // the first line of the answer's body, as it came; it may be empty
	err    error
}

func (e *StatusError) Error() string { return e.err.Error() }
func (e *StatusError) Unwrap() error { return e.err }

// FinalError is the error of a handshake that would fail again: the request can't be sent, or the answer is not that of
// a WebSocket.
type FinalError struct{ err error }

func (e *FinalError) Error() string { return e.err.Error() }
func (e *FinalError) Unwrap() error { return e.err }

// answerError returns the error of a handshake, with details of the answer. resp is nil if there was none.
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

// ServerHeader is the header by which a server gives a client its mark in the answer to the handshake.
const ServerHeader = "Wsep-Server"

// Dial connects to a WebSocket over a new connection. Each frame is sent with one write. A nil client means
// [http.DefaultClient]. If the answer has another status than 101, the error has a *[StatusError] in its chain. If the
// handshake is known to fail again for another reason, the error has a *[FinalError] in its chain.
func Dial(ctx context.Context, url string, header http.Header, subprotocols []string, client *http.Client) (*CoderConn, error) {
	if client == nil {
		client = http.DefaultClient
	}
	joining := *client
	transport := &joiningTransport{next: client.Transport}
	joining.Transport = transport
	if joining.CheckRedirect == nil {
		joining.CheckRedirect = fewRedirects
	}
	n := Coder(nil)
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient:      &joining,
		HTTPHeader:      header,
		Subprotocols:    subprotocols,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  n.answersPing,
	})
	if err != nil {
		return nil, answerError(resp, err)
	}
	n.c = conn
	n.server = resp.Header.Get(ServerHeader)
	if n.dialed = transport.body; n.dialed != nil {
		n.under = n.dialed
	}
	return n, nil
}

// maxRedirects is how many redirects are followed. It is http.Client's default. The library would replace that by a
// function of its own.
const maxRedirects = 10

func fewRedirects(_ *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return &FinalError{xerrors.Errorf("stopped after %d redirects", maxRedirects)}
	}
	return nil
}

// joiningTransport is a RoundTripper that makes new connections, and joins the pieces of frames on upgraded ones. next
// is nil for http.DefaultTransport. It is for one handshake.
type joiningTransport struct {
	next http.RoundTripper
	body *joinedBody // the upgraded connection
}

// RoundTrip implements http.RoundTripper.
func (t *joiningTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	next, pooling := connectingAnew(t.next)
	connecting := false
	var conn net.Conn
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { connecting = true },
		GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn },
	})
	resp, err := next.RoundTrip(r.WithContext(ctx))
	switch {
	case err == nil:
	case pooling && !connecting && r.Context().Err() == nil:
		return nil, &FinalError{err} // The transport refuses the request itself.
	default:
		return nil, err
	}
	if body, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		t.body = newJoinedBody(body)
		if pooling && isPrivate(next.(*http.Transport), r, conn) {
			t.body.private = conn
		}
		resp.Body = t.body
	}
	return resp, nil
}

// connectingAnew returns a RoundTripper that makes new connections, if t is one with a pool. A connection in a pool may
// be lost without notice. A handshake over it would get no answer and time out.
func connectingAnew(t http.RoundTripper) (anew http.RoundTripper, ok bool) {
	if t == nil {
		t = http.DefaultTransport
	}
	pooling, ok := t.(*http.Transport)
	if !ok || pooling.DisableKeepAlives {
		return t, ok
	}
	// The clone is not kept, because its original may be changed.
	clone := pooling.Clone()
	clone.DisableKeepAlives = true
	return clone, true
}

// joinedBody is the body of an upgraded response. It is the connection.
type joinedBody struct {
	io.ReadWriteCloser
	joiner  joiner
	private net.Conn // the connection, if masks may be zero on it; else nil
}

func newJoinedBody(conn io.ReadWriteCloser) *joinedBody {
	b := &joinedBody{ReadWriteCloser: conn, joiner: joiner{w: conn}}
	b.joiner.ended = sync.NewCond(&b.joiner.mu)
	return b
}

// Close implements io.Closer.
func (b *joinedBody) Close() error {
	err := b.ReadWriteCloser.Close()
	b.joiner.close()
	return err
}

// Read implements io.Reader.
func (b *joinedBody) Read(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Read(p)
	return n, ended(err)
}

// errEnded is what a connection's Read returns at the end of the connection.
var errEnded = xerrors.New("connection ended")

// ended returns a Read's error, with errEnded in the place of io.EOF. Of a message whose connection ends within it, the
// library passes io.EOF on as if the message had ended.
func ended(err error) error {
	if err == io.EOF {
		return errEnded
	}
	return err
}

// Write implements io.Writer.
func (b *joinedBody) Write(p []byte) (int, error) { return b.joiner.Write(p) }

// Accept accepts a WebSocket. Each frame is sent with one write. The caller has checked the origin.
func Accept(w http.ResponseWriter, r *http.Request, subprotocols []string) (*CoderConn, error) {
	joining := &joiningWriter{ResponseWriter: w}
	n := Coder(nil)
	conn, err := websocket.Accept(joining, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		Subprotocols:       subprotocols,
		// Compression would cost more time than it saves, and its sizes reveal content (CRIME).
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  n.answersPing,
	})
	if err != nil {
		return nil, err
	}
	n.c = conn
	n.under, n.accepted = joining.conn.Conn, joining.conn
	return n, nil
}

// joiningWriter is a ResponseWriter. After a hijack its connection joins the pieces of frames.
type joiningWriter struct {
	http.ResponseWriter
	conn *joinedConn // the hijacked connection
}

// Hijack implements http.Hijacker.
func (w *joiningWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	j := &joinedConn{Conn: conn, joiner: joiner{w: conn}, bodies: bodies{conn: conn}}
	w.conn = j
	// The buffers are replaced in place, because the server's goroutine keeps them as long as its handler runs. The response
	// to the handshake was flushed by Hijack.
	*rw.Writer = *bufio.NewWriterSize(j, smallBuffer)
	if n := rw.Reader.Buffered(); n > 0 { // Even a slice of no bytes would keep the http.Server's buffer.
		j.bodies.ahead, _ = rw.Reader.Peek(n) // What the client was quick to send.
	}
	*rw.Reader = *bufio.NewReaderSize(j, smallBuffer)
	return j, rw, nil
}

// smallBuffer is the size of a connection's buffers, in bytes. It is small because there are many idle connections.
// Larger reads and writes bypass the buffers.
const smallBuffer = 512

// joinedConn is a hijacked connection.
type joinedConn struct {
	net.Conn
	joiner joiner
	bodies bodies
}

// Read implements io.Reader.
func (c *joinedConn) Read(p []byte) (int, error) { return c.bodies.Read(p) }

// Write implements io.Writer.
func (c *joinedConn) Write(p []byte) (int, error) { return c.joiner.Write(p) }
