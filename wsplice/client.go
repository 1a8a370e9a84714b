package wsplice

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/xerrors"
)

// DialOptions configure a [Client].
type DialOptions struct {
	// Header is sent with the handshake, for example to authenticate. The Client reads it, and never writes it.
	Header http.Header
	// TLS is the configuration for wss URLs. nil means the defaults.
	TLS *tls.Config
	// Window is how many bytes a [Channel] holds until its reader reads them. A larger message is held alone. A Channel
	// also holds a quarter as many empty messages, and is closed with status 1008 when it gets more. Window also bounds
	// the bytes under way to the remote. 0 means 1 MiB, the server's limit is 4 MiB.
	//
	// A server of version 0.1.0 knows no windows and sends on when a Channel is full. The Client then reads nothing
	// until the Channel has room. This holds up all its Channels.
	Window int64
	// MaxMessage is the size of the largest message that the Client accepts from the server, in bytes. It closes the
	// connection when a larger one comes. 0 means 5 MiB, as for a server.
	MaxMessage int64
}

// ConnectOptions configure a [Channel].
type ConnectOptions struct {
	// Header is sent with the server's handshake with the remote. Several values of a name are joined with commas. The
	// Client reads it, and never writes it.
	Header http.Header
	// Subprotocols are offered in that handshake.
	Subprotocols []string
}

// Client is a connection to a wsplice server. Its [Channel]s go to remotes through it. [Dial] makes a Client. It is
// safe for concurrent use.
type Client struct {
	line    *line
	intake  *intake
	out     sharedOut
	window  int64
	reader  serverReader
	wg      sync.WaitGroup // all goroutines of the connection except its reader
	done    chan struct{}  // closed when the connection is closed and its goroutines have ended
	givenUp chan struct{}  // closed when this end gives up the connection

	mu       sync.Mutex // guards what follows
	cause    error      // why the connection has ended
	lastID   int64
	calls    map[int64]*pending
	channels map[uint16]*Channel
	pings    map[uint64]chan<- struct{}
	lastPong uint64 // pings up to this one have been answered
}

// pending is a call without an answer yet.
type pending struct {
	channel *Channel   // the channel to be connected; nil for other calls
	answer  chan error // nil when the caller has stopped waiting
}

const (
	defaultClientWindow = 1 << 20
	handshakeTimeout    = 30 * time.Second
	// clientWriteTimeout is for how long the server may take nothing. A server that knows windows always reads.
	clientWriteTimeout = 30 * time.Second
)

var (
	// ErrClosed is the error of calls on a [Client] or a [Channel] that this end has closed.
	ErrClosed = xerrors.New("connection is closed")

	errRemoteLost = xerrors.New("remote's connection lost")
)

// Dial connects to the wsplice server at a URL: ws://, wss://, http:// or https://. nil options are the defaults. The
// context bounds the dialing alone. Dialing takes at most 30 seconds in any case. The caller must close the Client.
func Dial(ctx context.Context, url string, opts *DialOptions) (*Client, error) {
	if opts == nil {
		opts = &DialOptions{}
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if rest, ok := strings.CutPrefix(url, "http"); ok {
		url = "ws" + rest
	}
	dialer := ws.Dialer{Header: ws.HandshakeHeaderHTTP(opts.Header), TLSConfig: opts.TLS}
	conn, buffered, _, err := dialer.Dial(ctx, url)
	if err != nil {
		return nil, xerrors.Errorf("dial wsplice: %w", err)
	}
	c := newClient(newLine(conn), opts)
	if buffered != nil {
		early, _ := buffered.Peek(buffered.Buffered()) // It can't fail, because all of it is there.
		c.intake.preload(early)
		ws.PutReader(buffered)
	}
	// Ends when the connection does.
	go c.run()
	return c, nil
}

func newClient(l *line, opts *DialOptions) *Client {
	c := &Client{
		line:     l,
		intake:   newIntake(l, 0),
		window:   orDefault(opts.Window, defaultClientWindow),
		done:     make(chan struct{}),
		givenUp:  make(chan struct{}),
		calls:    map[int64]*pending{},
		channels: map[uint16]*Channel{},
		pings:    map[uint64]chan<- struct{}{},
	}
	c.out = sharedOut{line: l, timeout: clientWriteTimeout, failed: c.end, wg: &c.wg}
	c.reader = serverReader{maxMessage: orDefault(opts.MaxMessage, defaultMaxMessage) + indexSize, client: c}
	return c
}

// Connect has the server connect to the WebSocket at a URL. nil options are the defaults. If the server refuses, or
// can't, the error has an *[Error] in its chain. The context bounds the connecting alone. Its deadline is passed on to
// the server.
func (c *Client) Connect(ctx context.Context, url string, opts *ConnectOptions) (*Channel, error) {
	if opts == nil {
		opts = &ConnectOptions{}
	}
	params := connectParams{URL: url, Subprotocols: opts.Subprotocols, Window: c.window}
	for k, v := range opts.Header {
		if params.Headers == nil {
			params.Headers = map[string]string{}
		}
		params.Headers[k] = strings.Join(v, ", ")
	}
	if deadline, ok := ctx.Deadline(); ok {
		params.Timeout = max(1, time.Until(deadline).Milliseconds())
	}
	ch := newChannelOf(c)
	if err := c.call(ctx, methodConnect, params, ch); err != nil {
		return nil, xerrors.Errorf("connect to %s: %w", url, err)
	}
	return ch, nil
}

// Close closes the connection with status 1000, and so all its [Channel]s. The server closes the remotes with the same
// status. Close waits for the server's answer for at most five seconds. It returns nil.
func (c *Client) Close() error {
	c.sendClose(closing{code: ws.StatusNormalClosure})
	timer := time.AfterFunc(closeGrace, func() { c.end(ErrClosed) })
	defer timer.Stop()
	c.mu.Lock()
	if c.cause == nil {
		c.cause = ErrClosed
	}
	// At once, because the server's answer is not read while a channel is full.
	for _, ch := range c.channels {
		ch.end(c.cause)
	}
	c.mu.Unlock()
	<-c.done
	return nil
}

// run reads the connection until its end, and then closes it.
func (c *Client) run() {
	err := c.read()
	if v, ok := errors.AsType[*violation](err); ok {
		c.sendClose(closing(*v))
	} else if closed, ok := errors.AsType[*closeError](err); ok {
		c.sendClose(closed.closing)
	}
	c.failAll(err)
	c.out.close()
	timer := time.AfterFunc(endTimeout, c.line.interrupt)
	c.wg.Wait()
	timer.Stop()
	_ = c.line.Close()
	close(c.done)
}

// sendClose queues a close frame. After the first close frame nothing is sent.
func (c *Client) sendClose(said closing) {
	c.out.enqueue(queued{frame: appendFrame(nil, ws.OpClose, true, said.payload()), last: true})
}

// end gives up the connection, without waiting.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = err
	}
	if !isClosed(c.givenUp) {
		close(c.givenUp)
	}
	c.line.interrupt()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// failAll fails all calls and ends all channels, because the connection has ended.
func (c *Client) failAll(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = xerrors.Errorf("connection lost: %w", err)
	}
	for _, p := range c.calls {
		if p.answer != nil {
			p.answer <- c.cause
		}
	}
	for _, ch := range c.channels {
		ch.end(c.cause)
	}
	c.calls, c.channels = nil, nil
}

// call calls a method of the server and waits for the answer. It connects ch, if that is not nil.
func (c *Client) call(ctx context.Context, method string, params any, ch *Channel) error {
	answer := make(chan error, 1)
	id, err := c.begin(&pending{channel: ch, answer: answer})
	if err != nil {
		return err
	}
	frame := controlFrame(encodeCall(id, method, params))
	if err := c.out.send(ctx, &frame, func() bool { return false }); err != nil {
		if cause := c.err(); cause != nil {
			err = cause
		}
		return c.giveUp(id, answer, err)
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return c.giveUp(id, answer, ctx.Err())
	}
}

// giveUp forgets a call that has failed with the error. If the answer has come in the meantime, it returns that
// instead. Then the caller owns the channel that the call has connected.
func (c *Client) giveUp(id int64, answer <-chan error, err error) error {
	c.forget(id)
	select {
	case err = <-answer:
	default:
	}
	return err
}

// controlFrame returns a control message's frame.
func controlFrame(message []byte) []byte {
	return appendFrame(nil, ws.OpBinary, true, controlPrefix, message)
}

// begin registers a call.
func (c *Client) begin(p *pending) (id int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return 0, c.cause
	}
	c.lastID++
	c.calls[c.lastID] = p
	return c.lastID, nil
}

// forget marks a call as one without a caller. If its answer connects a channel, the channel is closed.
func (c *Client) forget(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.calls[id]
	if p == nil {
		return
	}
	p.answer = nil
	if p.channel == nil {
		delete(c.calls, id)
	}
}

// ping sends a ping and waits for its pong.
func (c *Client) ping(ctx context.Context) error {
	pong := make(chan struct{}, 1)
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return c.cause
	}
	c.lastID++
	id := uint64(c.lastID)
	c.pings[id] = pong
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.pings, id)
	}()
	frame := appendFrame(nil, ws.OpPing, true, binary.BigEndian.AppendUint64(nil, id))
	if err := c.out.send(ctx, &frame, func() bool { return false }); err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-c.done:
		return c.err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// err returns why the connection has ended.
func (c *Client) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}
