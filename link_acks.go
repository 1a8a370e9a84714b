package wsep

import (
	"sync"

	"cdr.dev/wsep/internal/proto"
)

// maxAckMessage is how many bytes an ack has at most.
const maxAckMessage = 64

// ackSender sends the acknowledgments of one stream. If several wait it sends the last. It keeps nobody waiting: if both
// ends of a connection waited to write before they read on, neither would ever go on.
type ackSender struct {
	link    *link
	stream  proto.Stream
	sendAll func()

	mu      sync.Mutex // guards what follows
	offset  int64      // to be sent; 0 for nothing
	sending bool       // the goroutine lives

	buf [maxAckMessage]byte // the sending goroutine's
}

func (l *link) newAckSender(stream proto.Stream) *ackSender {
	s := &ackSender{link: l, stream: stream}
	s.sendAll = s.run
	return s
}

// send acknowledges all bytes before the offset. It does not wait for that.
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
