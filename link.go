package wsep

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// link is one end of the wire, client's or server's: what both do with a Conn.
type link struct {
	conn Conn
	// writeTimeout bounds each write. 0 means no bound.
	writeTimeout time.Duration

	// header is where the start of each message is read to. The reading goroutine owns it.
	header [len(proto.StdoutHeader)]byte
	// control holds a message that is no bulk message. The reading goroutine owns it.
	control []byte
	// ack is the last ack that was read. The reading goroutine owns it.
	ack proto.Ack

	life liveness
}

// defaultWindow is how many bytes of a stream may be under way or unread, and so what a buffer holds at most. It is the
// memory that a reader that stopped can cost. With the round-trip time it bounds the rate: 2 MiB let a stream use
// 160 Mbit/s over 100 ms.
const defaultWindow = 2 << 20

// defaultMaxMessage is the size of the largest message that this version takes from a peer that asks. Larger ones gain
// no speed, and on a slow link keep everything else waiting.
const defaultMaxMessage = 256 << 10

// closeGrace is how long an end waits for the other to close a connection that has served its purpose.
const closeGrace = 5 * time.Second

// bulk is a message whose body has not been read yet. The body must be read to its end.
type bulk struct {
	stream proto.Stream
	body   io.Reader
}

// read returns the next message: a bulk message with its body still to be read, or a decoded one, an ack as a pointer.
// canonical is the header of the bulk messages that are expected. A proto.UnknownTypeError is a message to ignore; after
// any other error nothing more can be read. Reads and writes are interrupted by closing the connection, never by a
// context, because the libraries close a connection without a close frame when a context ends.
func (l *link) read(canonical string) (bulk, any, error) {
	r, err := l.conn.Reader(context.Background())
	if err != nil {
		return bulk{}, nil, err
	}
	l.life.heard.Add(1)
	n, err := io.ReadFull(r, l.header[:len(canonical)])
	if err == nil {
		if stream, ok := bulkStream(l.header[:n]); ok {
			return bulk{stream, r}, nil, nil
		}
	}
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return bulk{}, nil, err
	}
	return l.readControl(n, r, err == nil)
}

// bulkStream recognises the constant headers.
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

// readControl reads the rest of a message of which n bytes are in l.header and decodes it.
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
	}
	return bulk{}, msg, nil
}

// acknowledged returns an ack as a message that costs no allocation. It is valid until the next read.
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

// write sends a message. If the peer takes longer than the write timeout the connection is closed.
func (l *link) write(msg []byte) error {
	ctx := context.Background()
	if l.writeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.writeTimeout)
		defer cancel()
	}
	l.life.begin()
	err := l.conn.Write(ctx, msg)
	l.life.end(len(msg))
	return err
}

// framePool holds buffers for messages of bulk.
var framePool = sync.Pool{New: func() any { b := make([]byte, defaultMaxMessage); return &b }}

const (
	// idleFrame is the size of the buffer that waits for a stream's next bytes while the stream carries little, so that
	// an idle process costs little memory.
	idleFrame = 1 << 10
	// calmReads is after how many small reads in a row a stream gives a large buffer back.
	calmReads = 16
)

// sender sends a stream in messages of at most limit bytes, within its credit. Its pace begins with firstPace.
type sender struct {
	link   *link
	header string
	limit  int
	credit *flow.Credit
	stop   <-chan struct{} // closed when there is nobody left to send to
	pace   int             // how many bytes a message has at most for now; 0 means no bound but the limit
}

const (
	// slowMessage is how long the writing of a message may take. Whatever else is to be said waits for that long: pings
	// and their answers above all, for which the libraries have 5 s before they close the connection.
	slowMessage = 250 * time.Millisecond
	// minPace is how small messages are made on a slow network.
	minPace = 1 << 10
	// firstPace is how small they are while nothing is known about the network.
	firstPace = 16 << 10
)

// write sends a message with n bytes of the stream, and sets the pace for the next.
func (s *sender) write(msg []byte, n int) error {
	s.credit.Spend(n)
	began := time.Now()
	err := s.link.write(msg)
	switch took := time.Since(began); {
	case err != nil:
		return disconnected(err)
	case took > slowMessage:
		s.pace = max(n/4, minPace)
	case s.pace > 0 && took < slowMessage/8:
		if s.pace *= 2; s.pace >= s.limit {
			s.pace = 0
		}
	}
	return nil
}

// next waits until some of most bytes may be sent, and returns how many.
func (s *sender) next(most int) (int, error) {
	if s.pace > 0 {
		most = min(most, s.pace)
	}
	return s.credit.Available(most, s.stop)
}

// carry sends all of r until that ends, by send, which is sendFrame or a wrapper of it. It returns how many bytes were
// sent, how r ended, which is nil for io.EOF, and the error of send. The bytes are read straight behind the header of the
// message that carries them, and before there is credit for them, so that the end is noticed when there is none.
func (s *sender) carry(r io.Reader, send func(frame []byte) error) (sent int64, readErr, sendErr error) {
	idle := append(make([]byte, 0, idleFrame), s.header...)[:idleFrame]
	buf := idle
	var large *[]byte
	defer func() { putFrame(large) }()
	calm := 0
	for {
		n, err := r.Read(buf[len(s.header):])
		if n > 0 {
			if err := send(buf[:len(s.header)+n]); err != nil {
				return sent, nil, err
			}
			sent += int64(n)
		}
		if err == io.EOF {
			return sent, nil, nil
		}
		if err != nil {
			return sent, err, nil
		}
		switch small := n < idleFrame-len(s.header); {
		case large == nil && !small:
			large = framePool.Get().(*[]byte)
			buf = (*large)[:s.limit]
			copy(buf, s.header)
			calm = 0
		case large != nil && small:
			if calm++; calm == calmReads {
				putFrame(large)
				large, buf = nil, idle
			}
		default:
			calm = 0
		}
	}
}

// sendFrame sends a message, header and body, in as many as the credit and the pace demand. It leaves the header in its
// place.
func (s *sender) sendFrame(frame []byte) error {
	whole := frame
	for len(frame) > len(s.header) {
		n, err := s.next(len(frame) - len(s.header))
		if err != nil {
			return err
		}
		if err := s.write(frame[:len(s.header)+n], n); err != nil {
			return err
		}
		// What has been sent makes room for the header of the rest.
		frame = frame[n:]
		copy(frame, s.header)
	}
	copy(whole, s.header)
	return nil
}

// send sends all of p.
func (s *sender) send(p []byte) (sent int, err error) {
	large := framePool.Get().(*[]byte)
	defer putFrame(large)
	buf := (*large)[:s.limit]
	copy(buf, s.header)
	for sent < len(p) {
		n, err := s.next(min(len(p)-sent, s.limit-len(s.header)))
		if err != nil {
			return sent, err
		}
		copy(buf[len(s.header):], p[sent:sent+n])
		if err := s.write(buf[:len(s.header)+n], n); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

func putFrame(buf *[]byte) {
	if buf != nil {
		framePool.Put(buf)
	}
}

// ack offsets are sent in messages of this size at most.
const maxAckMessage = 64

// ackSender sends acknowledgements of one stream, of those that wait the last. It keeps nobody waiting: a reader of the
// connection that waited to write would read nothing, and if its peer's did the same neither would ever go on.
type ackSender struct {
	link    *link
	stream  proto.Stream
	sendAll func()

	mu      sync.Mutex // guards what follows
	offset  int64      // to be sent; 0 for nothing
	sending bool       // there is a goroutine that sends

	buf [maxAckMessage]byte // the sending goroutine's
}

func (l *link) newAckSender(stream proto.Stream) *ackSender {
	s := &ackSender{link: l, stream: stream}
	s.sendAll = s.run
	return s
}

// send has the acknowledgement of all bytes before the offset sent.
func (s *ackSender) send(offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset = offset
	if s.sending {
		return
	}
	s.sending = true
	// Ends when all is sent, or the connection is closed. A function that is kept costs no allocation.
	go s.sendAll()
}

func (s *ackSender) run() {
	for offset := s.next(); offset > 0; offset = s.next() {
		// A failed write ends the connection, which its reader notices.
		_ = s.link.write(proto.AppendAck(s.buf[:0], s.stream, offset))
	}
}

func (s *ackSender) next() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	offset := s.offset
	s.offset, s.sending = 0, offset > 0
	return offset
}

// sizeLimit returns the size of the largest message that may be sent to a peer that announced these extensions.
func sizeLimit(peer *proto.Extensions) int {
	if peer == nil || peer.MaxMessage == 0 {
		return proto.MaxMessage
	}
	return int(min(peer.MaxMessage, defaultMaxMessage))
}
