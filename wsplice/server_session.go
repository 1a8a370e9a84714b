package wsplice

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog"
	"github.com/gobwas/ws"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/peerlog"
)

// session is the server's end of a client's connection. Its reader is the goroutine of the request. The reader owns the
// connection and closes it.
type session struct {
	opts   *options
	line   *line
	intake *intake
	demux  fromClient
	out    sharedOut
	table  table
	// controlOp is the opcode of the client's last control message. The server's control messages have the same.
	controlOp atomic.Uint32

	// For the reader alone.
	current  *splice   // the channel of the message that is being read
	touched  []*splice // the channels with bytes in their batch
	dropping bool      // messages from the client are dropped
	broken   error     // why the client's bytes can't be split into frames any more
	hungUp   time.Time // when the client was found to have closed its end, with bytes left to read

	noise peerlog.Ration // bounds the log of what the client can cause at will

	wg   sync.WaitGroup     // all goroutines of the session except its reader
	ctx  context.Context    // ends when the session does
	stop context.CancelFunc // ends ctx

	mu     sync.Mutex // guards what follows
	closed bool       // no channel is added any more
	cause  error      // why this end gives up the client
}

var (
	errShutdown   = &violation{ws.StatusGoingAway, "server is shutting down"}
	errRequest    = &violation{ws.StatusGoingAway, "server ends the connection"}
	errChannels   = xerrors.New("too many connections")
	clientLost    = closing{ws.StatusGoingAway, "client is gone"}
	errClientLost = xerrors.New("client is gone")
)

// newSession makes a session of a client's connection. early are bytes that have been read from it already.
func newSession(opts *options, conn net.Conn, early []byte) *session {
	s := &session{opts: opts, line: newLine(conn)}
	s.intake = newIntake(s.line, opts.readTimeout)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.demux = fromClient{maxMessage: opts.maxMessage, events: s}
	s.out = sharedOut{line: s.line, timeout: opts.writeTimeout, failed: s.end, wg: &s.wg}
	s.controlOp.Store(uint32(ws.OpBinary))
	s.intake.preload(early)
	return s
}

// run serves the client until its connection ends. It returns after all of the session's goroutines have ended.
func (s *session) run() error {
	err := s.read()
	s.mu.Lock()
	s.closed = true
	if s.cause != nil {
		err = s.cause
	}
	s.mu.Unlock()
	s.closeAll(err)
	return err
}

// end gives up the client, without waiting.
func (s *session) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = err
	}
	s.stop()
	s.line.interruptReads()
}

func (s *session) read() error {
	for {
		if err := s.pass(); err != nil {
			return err
		}
		if err := s.intake.fill(s.demux.inFrame || s.demux.inMessage); err != nil {
			return err
		}
	}
}

// pass passes on the bytes that have been read.
func (s *session) pass() error {
	if s.demux.to != nil {
		s.touch(s.current)
	}
	used, err := s.demux.feed(s.intake.buf)
	s.flush()
	s.intake.consume(used, 0)
	s.broken = err
	return err
}

// route implements clientEvents.
func (s *session) route(index int) *batch {
	if s.dropping {
		return nil
	}
	c := s.table.get(index)
	if c == nil || c.released {
		s.warn(unknownConnection(int64(index)))
		return nil
	}
	s.current = c
	s.touch(c)
	return &c.batch
}

func (s *session) touch(c *splice) {
	if !c.touched {
		c.touched = true
		s.touched = append(s.touched, c)
	}
}

// flush delivers all batches.
func (s *session) flush() {
	for i, c := range s.touched {
		c.touched = false
		c.deliver(s.demux.inFrame && s.demux.to == &c.batch)
		s.touched[i] = nil
	}
	s.touched = s.touched[:0]
}

// lookForClient checks whether the client has closed its end, and drops its messages dropAfter later. Then the reader
// soon comes to the end of the bytes, and to the close frame if there is one. It is called when the reader has to wait.
func (s *session) lookForClient() {
	switch {
	case !s.hungUp.IsZero():
		s.dropping = s.dropping || time.Since(s.hungUp) >= dropAfter
	case s.line.hungUp():
		s.hungUp = time.Now()
	}
}

// tooShort implements clientEvents.
func (s *session) tooShort() {
	s.warn(&Error{Code: CodeFrameTooShort, Message: "frame too short for the index that a message starts with"})
}

// control implements clientEvents.
func (s *session) control(op ws.OpCode, payload []byte) error {
	switch op {
	case ws.OpPing:
		s.out.pong(appendFrame(nil, ws.OpPong, false, payload))
	case ws.OpClose:
		said, err := parseClosing(payload)
		if err != nil {
			return err
		}
		return &closeError{said}
	}
	return nil
}

// command implements clientEvents.
func (s *session) command(op ws.OpCode, p []byte) {
	s.controlOp.Store(uint32(op))
	// Messages that came before a terminate still reach the remote.
	s.flush()
	if s.dropping {
		return
	}
	if p == nil {
		s.warn(&Error{Code: CodeFrameTooLong, Message: "control message too long"})
		return
	}
	c, err := decodeCall(p)
	switch {
	case err != nil:
		s.warn(err)
	case c.Type == typeReply: // The server makes no calls that have a reply.
	case c.Method == methodConnect:
		s.connect(c)
	case c.Method == methodTerminate:
		s.terminate(c)
	case c.Method == methodAck:
		s.acknowledged(c)
	default:
		s.fail(c, &Error{Code: CodeUnknownMethod, Message: "unknown method"})
	}
}

// fail answers a call with an error.
func (s *session) fail(c call, err error) { s.send(encodeError(c.ID, err), nil) }

// warn sends the client an error that belongs to no reply.
func (s *session) warn(err error) { s.send(encodeCall(0, methodWarn, err), nil) }

// send sends a control message, without waiting. If first is not nil, it is called right before the message is sent.
func (s *session) send(message []byte, first func()) {
	s.out.enqueue(queued{frame: s.controlFrame(message), first: first})
}

var controlPrefix = []byte{controlIndex >> 8, controlIndex & 0xff}

// controlFrame returns a control message's frame. It is text if the client's control messages are, as with version
// 0.1.0. Its index is not valid UTF-8. Browsers refuse such a message, but they can't send one either.
func (s *session) controlFrame(message []byte) []byte {
	return appendFrame(nil, ws.OpCode(s.controlOp.Load()), false, controlPrefix, message)
}

// terminate handles a call of terminate. The reply comes after all messages of the channel. The index is free from then
// on.
func (s *session) terminate(call call) {
	params, err := decodeParams[terminateParams](call)
	var index uint16
	if err == nil {
		index, err = checkIndex(params.Index)
	}
	said := closing{ws.StatusNormalClosure, params.Reason}
	if err == nil && params.Code != nil {
		if !sendable(*params.Code) {
			err = &Error{Code: CodeBadJSON, Message: "code can't be sent in a close frame", Path: "code"}
		}
		said.code = ws.StatusCode(*params.Code)
	}
	if err != nil {
		s.fail(call, err)
		return
	}
	c := s.table.get(int(index))
	if c == nil || c.released {
		s.fail(call, unknownConnection(int64(index)))
		return
	}
	c.released = true
	c.terminate(said, closeGrace)
	s.send(encodeReply(call.ID, struct{}{}), func() { s.table.remove(c) })
}

// acknowledged handles an ack: the client has consumed bytes.
func (s *session) acknowledged(call call) {
	params, err := decodeParams[ackParams](call)
	var index uint16
	if err == nil {
		index, err = checkIndex(params.Index)
	}
	if err == nil && params.Bytes < 0 {
		err = &Error{Code: CodeBadJSON, Message: "negative number of bytes", Path: "bytes"}
	}
	if err != nil {
		s.warn(err)
		return
	}
	// An ack for a channel that has just ended is no error.
	if c := s.table.get(int(index)); c != nil {
		c.credit.add(params.Bytes)
	}
}

// connect handles a call of connect, in a goroutine of its own.
func (s *session) connect(call call) {
	params, err := decodeParams[connectParams](call)
	if err == nil && (params.Timeout < 0 || params.Window < 0) {
		err = &Error{Code: CodeBadJSON, Message: "negative number"}
	}
	if err != nil {
		s.fail(call, err)
		return
	}
	if !s.table.reserve(s.opts.maxChannels) {
		s.fail(call, errChannels)
		return
	}
	// Ends when the remote has been dialed. There is a time limit for that, and the session's end cancels it.
	s.wg.Go(func() { s.dial(call.ID, params) })
}

func (s *session) dial(id int64, params connectParams) {
	r, err := s.dialRemote(params)
	if err != nil {
		s.table.giveBack()
		s.send(encodeError(id, err), nil)
		return
	}
	s.add(id, newSplice(s, r, agreedWindow(params.Window)))
}

func (s *session) dialRemote(params connectParams) (*remote, error) {
	timeout := s.opts.dialTimeout
	if asked := time.Duration(params.Timeout) * time.Millisecond; asked > 0 {
		timeout = min(timeout, asked)
	}
	header := http.Header{}
	for k, v := range params.Headers {
		header.Set(k, v)
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	r, err := s.opts.dialer.dial(ctx, params.URL, header, params.Subprotocols)
	if err != nil {
		s.logFailed(err)
	}
	return r, err
}

func (s *session) logFailed(err error) {
	if ok, unlogged := s.noise.Take(); ok {
		s.opts.logger.Info(s.ctx, "refused or failed connect", slog.F("unlogged", unlogged), slog.Error(err))
	}
}

const (
	minWindow = 4 << 10
	maxWindow = 4 << 20
)

// agreedWindow returns the window of a client that asked for one, in bytes. 0 means none.
func agreedWindow(asked int64) int64 {
	if asked == 0 {
		return 0
	}
	return max(minWindow, min(asked, maxWindow))
}

// add gives a channel its index, replies to the client, and runs the channel.
func (s *session) add(id int64, c *splice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.fail(errClientLost)
	}
	s.table.insert(c)
	c.mux.index = [indexSize]byte{byte(c.index >> 8), byte(c.index)}
	result := encodeReply(id, connectResult{c.index, c.window, c.subprotocol})
	// Ends when the remote's connection is closed, at the latest endTimeout after the session's end.
	s.wg.Go(func() {
		s.out.mu.Lock()
		_ = s.out.write([][]byte{s.controlFrame(result)})
		s.out.mu.Unlock()
		c.run()
	})
}

// disconnected tells the client that a remote's connection is closed or lost, unless the client has terminated the
// channel. Then the index is free. The index of a channel with a window stays the client's until it terminates the
// channel.
func (s *session) disconnected(c *splice, said closing) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if c.terminated.Load() {
		return
	}
	if c.window == 0 {
		s.table.remove(c)
	}
	if said.code == ws.StatusAbnormalClosure {
		said.code = s.opts.lostCode
	}
	params := disconnectParams{c.index, uint16(said.code), said.reason}
	_ = s.out.write([][]byte{s.controlFrame(encodeCall(0, s.opts.closeMethod, params))})
}

// closeAll closes the remotes and the client's connection, and waits until all goroutines have ended.
func (s *session) closeAll(err error) {
	timer := time.AfterFunc(endTimeout, s.line.interrupt)
	defer timer.Stop()
	toRemotes, toClient := s.closings(err)
	for _, c := range s.table.all() {
		c.terminate(toRemotes, endTimeout)
	}
	s.stop()
	if toClient != nil {
		s.closeClient(*toClient, err)
	} else {
		s.line.interrupt()
	}
	s.wg.Wait()
	_ = s.line.Close()
}

// closings returns the contents of the close frames for the remotes and for the client. toClient is nil if the client
// gets none.
func (s *session) closings(err error) (toRemotes closing, toClient *closing) {
	if closed, ok := errors.AsType[*closeError](err); ok {
		return closed.closing, &closed.closing
	}
	v, ok := errors.AsType[*violation](err)
	switch {
	case ok && v.code == ws.StatusGoingAway:
		return closing(*v), (*closing)(v)
	case ok:
		return clientLost, (*closing)(v)
	}
	return clientLost, nil
}

// closeClient sends the client a close frame. If this does not answer a close frame of the client, it waits until the
// client has answered it or has closed its end. So the frame is not lost with a reset.
func (s *session) closeClient(said closing, err error) {
	s.out.writeLast(appendFrame(nil, ws.OpClose, false, said.payload()))
	if _, answered := errors.AsType[*closeError](err); answered {
		return
	}
	s.line.resumeReads()
	s.dropping = true
	for s.broken == nil && s.intake.fill(true) == nil {
		s.broken = s.pass()
	}
	if _, answered := errors.AsType[*closeError](s.broken); answered {
		return
	}
	// Bytes behind a broken frame can't be split into frames.
	for s.intake.fill(true) == nil {
		s.intake.consume(len(s.intake.buf), 0)
	}
}
