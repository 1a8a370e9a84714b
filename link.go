package wsep

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wsconn"
)

// link is one end of a connection. It is what client and server both do with a Conn.
type link struct {
	conn Conn
	// writeTimeout bounds each write. 0 means no bound.
	writeTimeout time.Duration

	// header holds the start of the message that is being read. The reading goroutine owns it.
	header [len(proto.StdoutHeader)]byte
	// control holds a message without a stream's bytes. The reading goroutine owns it.
	control []byte
	// ack and echo are the last of their kind that were read. The reading goroutine owns them.
	ack  proto.Ack
	echo proto.Echo

	life liveness
	// writes is held for reading by each write. endWrites holds it, and sets ended.
	writes sync.RWMutex
	ended  bool // nothing is written any more

	// failed is called when a stream can't be written, sent when a whole stream was. Neither may wait. nil calls nothing.
	failed func(error)
	sent   func()
}

// fail says that a stream can't be written.
func (l *link) fail(err error) {
	if l.failed != nil {
		l.failed(err)
	}
}

// streamSent says that a whole stream was written.
func (l *link) streamSent() {
	if l.sent != nil {
		l.sent()
	}
}

// defaultWindow is how many bytes of a stream may be under way or unread, and so what a buffer holds at most. It is the
// memory that a reader that stopped can cost. With the round-trip time it bounds the rate: 2 MiB let a stream use
// 160 Mbit/s over 100 ms.
const defaultWindow = 2 << 20

// defaultMaxMessage is the size, in bytes, of the largest message that this version takes: 256 KiB of a stream, and the 18 bytes of
// proto.StdoutHeader. Larger messages gain no speed. On a slow network they keep all else waiting.
const defaultMaxMessage = 256<<10 + 18

// closeGrace is how long a server waits for its client to close the connection after the last message.
const closeGrace = 5 * time.Second

// bulk is a message with a stream's bytes. Its body must be read to the end before the next message.
type bulk struct {
	stream proto.Stream
	body   io.Reader
}

// read returns the next message: a bulk message, or a decoded one. Acks and echoes come as pointers. canonical is the header that
// the expected bulk messages have. A proto.UnknownTypeError stands for a message to ignore. After any other error nothing
// more can be read.
//
// Reads and writes take no context: when a context ends, the libraries close the connection without a close frame. To
// close the connection interrupts both.
func (l *link) read(canonical string) (bulk, any, error) {
	r, err := l.conn.Reader(context.Background())
	if err != nil {
		return bulk{}, nil, err
	}
	l.life.heard.Add(1)
	n, err := readFull(r, l.header[:len(canonical)])
	if err != nil && err != io.EOF {
		return bulk{}, nil, err
	}
	if stream, ok := bulkStream(l.header[:n]); ok {
		if body := l.leftBody(); body != nil {
			r = body
		} else if err == io.EOF {
			r = emptyBody{}
		}
		return bulk{stream, r}, nil, nil
	}
	return l.readControl(n, r, err == nil)
}

// leftBody returns the body that the message has left on the connection. It returns nil if that is nothing.
func (l *link) leftBody() *wsconn.Body {
	if conn, ok := l.conn.(*wsconn.CoderConn); ok {
		return conn.Body()
	}
	return nil
}

// emptyBody is the body of a message that has ended.
type emptyBody struct{}

// Read implements io.Reader.
func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }

// readFull reads until p is full or r has ended, which is io.EOF. In contrast to [io.ReadFull] it tells the end of a message
// from the end of its connection, which may be an [io.ErrUnexpectedEOF].
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := r.Read(p[n:])
		if err != nil && err != io.EOF {
			return n, err
		}
		if n += m; err == io.EOF {
			return n, io.EOF
		}
	}
	return n, nil
}

// bulkStream recognizes the constant headers.
func bulkStream(header []byte) (proto.Stream, bool) {
	switch string(header) {
	case proto.StdinHeader:
		return proto.TypeStdin, true
	case proto.StdoutHeader:
		return proto.TypeStdout, true
	case proto.StderrHeader:
		return proto.TypeStderr, true
	}
	return "", false
}

// readControl reads the rest of a message and decodes it. Its first n bytes are in l.header.
func (l *link) readControl(n int, rest io.Reader, more bool) (bulk, any, error) {
	l.control = append(l.control[:0], l.header[:n]...)
	if more {
		var err error
		if l.control, err = readAll(l.control, rest); err != nil {
			return bulk{}, nil, err
		}
	}
	if cap(l.control) > 4<<10 {
		defer func() { l.control = nil }()
	}
	header, body := proto.Split(l.control)
	if ack, ok := proto.DecodeAck(header); ok {
		return bulk{}, l.acknowledged(ack), nil
	}
	if echo, ok := proto.DecodeEcho(header); ok {
		return bulk{}, l.echoed(echo), nil
	}
	msg, err := proto.Decode(header)
	if err != nil {
		if _, unknown := errors.AsType[proto.UnknownTypeError](err); unknown {
			return bulk{}, nil, err
		}
		return bulk{}, nil, protocolErrorf("%w", err)
	}
	switch msg := msg.(type) {
	case proto.Stream:
		return bulk{msg, bytes.NewReader(body)}, nil, nil
	case proto.Ack:
		return bulk{}, l.acknowledged(msg), nil
	case proto.Echo:
		return bulk{}, l.echoed(msg), nil
	}
	return bulk{}, msg, nil
}

// acknowledged returns an ack as a message, without an allocation. It is valid until the next read.
func (l *link) acknowledged(ack proto.Ack) *proto.Ack {
	l.ack = ack
	return &l.ack
}

// violation gives a peer's breach of flow control the close code of a broken protocol.
func violation(err error) error {
	if errors.Is(err, flow.ErrWindow) || errors.Is(err, flow.ErrAck) {
		return protocolErrorf("%w", err)
	}
	return err
}

// echoed returns an echo as acknowledged does an ack.
func (l *link) echoed(echo proto.Echo) *proto.Echo {
	l.echo = echo
	return &l.echo
}

func readAll(dst []byte, r io.Reader) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// send encodes and sends a message.
func (l *link) send(m any) error {
	msg, err := proto.Encode(m)
	if err != nil {
		return err
	}
	return l.write(msg)
}

// write sends a message. If that takes longer than the write timeout, the connection is closed.
func (l *link) write(msg []byte) error {
	ctx := context.Background()
	if l.writeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.writeTimeout)
		defer cancel()
	}
	l.writes.RLock()
	defer l.writes.RUnlock()
	if l.ended {
		return errLinkEnded
	}
	l.life.begin()
	err := l.conn.Write(ctx, msg)
	l.life.end(len(msg))
	return err
}

var errLinkEnded = xerrors.New("connection carries another conversation")

// endWrites waits for the writes under way, and lets no other begin. The connection then carries another conversation.
func (l *link) endWrites() {
	l.writes.Lock()
	defer l.writes.Unlock()
	l.ended = true
}

// tryEndWrites is endWrites, but does nothing and returns false while a write is under way.
func (l *link) tryEndWrites() bool {
	if !l.writes.TryLock() {
		return false
	}
	defer l.writes.Unlock()
	l.ended = true
	return true
}

// sizeLimit returns the size, in bytes, of the largest message that a peer with these extensions takes.
func sizeLimit(peer *proto.Extensions) int {
	if peer == nil || peer.MaxMessage == 0 {
		return proto.MaxMessage
	}
	return int(min(peer.MaxMessage, defaultMaxMessage))
}
