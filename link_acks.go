package wsep

import (
	"sync"

	"cdr.dev/wsep/internal/proto"
)

// maxNumberMessage is how many bytes an ack or an echo has at most.
const maxNumberMessage = 64

// numberSender sends messages that differ in a number alone: the acknowledgments of one stream, or the answers to echoes. If
// several wait it sends the last. It keeps nobody waiting: if both ends of a connection waited to write before they read
// on, neither would ever go on.
type numberSender struct {
	link    *link
	encode  func(dst []byte, n int64) []byte // appends the message
	sendAll func()

	mu      sync.Mutex // guards what follows
	number  int64      // to be sent; 0 for nothing
	sending bool       // the goroutine lives

	buf [maxNumberMessage]byte // the sending goroutine's
}

func (l *link) newNumberSender(encode func(dst []byte, n int64) []byte) *numberSender {
	s := &numberSender{link: l, encode: encode}
	s.sendAll = s.run
	return s
}

// send sends the number's message. It does not wait for that.
func (s *numberSender) send(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number = n
	if s.sending {
		return
	}
	s.sending = true
	// Ends when all is sent, or the connection is closed. A function that is kept costs no allocation.
	go s.sendAll()
}

func (s *numberSender) run() {
	for n := s.next(); n > 0; n = s.next() {
		// A failed write ends the connection, which its reader notices.
		_ = s.link.write(s.encode(s.buf[:0], n))
	}
}

func (s *numberSender) next() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.number
	s.number, s.sending = 0, n > 0
	return n
}

// receipt acknowledges one field of ack over a link, and over the next link if that one is lost.
type receipt struct {
	field proto.AckField

	mu     sync.Mutex    // guards what follows
	value  int64         // the newest
	link   *link         // nil while there is no connection
	sender *numberSender // sends over link; nil before the first
}

// attach begins to acknowledge over a link. What an earlier link may not have carried comes first.
func (r *receipt) attach(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.link, r.sender = l, nil
	if r.value > 0 {
		r.sendNow()
	}
}

// detach stops acknowledging.
func (r *receipt) detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.link, r.sender = nil, nil
}

// send acknowledges everything up to value. It does not wait for that.
func (r *receipt) send(value int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value = value
	if r.link != nil {
		r.sendNow()
	}
}

// sendNow acknowledges the newest value over the link. The lock is held.
func (r *receipt) sendNow() {
	if r.sender == nil {
		r.sender = r.link.newNumberSender(func(dst []byte, n int64) []byte { return proto.AppendAck(dst, r.field, n) })
	}
	r.sender.send(r.value)
}
