package wsep

import (
	"io"
	"sync"
	"time"

	"cdr.dev/wsep/internal/flow"
)

// framePool holds buffers for the largest messages.
var framePool = sync.Pool{New: func() any { b := make([]byte, defaultMaxMessage); return &b }}

func putFrame(buf *[]byte) {
	if buf != nil {
		framePool.Put(buf)
	}
}

const (
	// idleFrame is the size, in bytes, of the buffer that waits for the next bytes of a stream that carries little. An
	// idle process so costs little memory.
	idleFrame = 1 << 10
	// calmReads is how many small reads in a row make a stream return its large buffer.
	calmReads = 16
)

// sender sends a stream in messages of at most limit bytes, within its credit. One goroutine uses it at a time.
type sender struct {
	link   *link
	header string
	limit  int
	credit *flow.Credit
	stop   <-chan struct{} // closed when there is nobody left to send to
	pace   int             // how many bytes a message carries at most for now; 0 means as many as limit allows
}

const (
	// slowMessage is how long the writing of a message may take. All else waits meanwhile, pings and their answers too, for
	// which the libraries have 5 s before they close the connection.
	slowMessage = 250 * time.Millisecond
	// minPace is the pace, in bytes, on the slowest network.
	minPace = 1 << 10
	// firstPace is the pace, in bytes, while nothing is known about the network.
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
// sent, how r ended, which is nil for io.EOF, and the error of send. Bytes are read right behind the header of the message
// that carries them. They are read before there is credit for them, so that the end of r is noticed without credit.
func (s *sender) carry(r io.Reader, send func(frame []byte) (int, error)) (sent int64, readErr, sendErr error) {
	idle := append(make([]byte, 0, idleFrame), s.header...)[:idleFrame]
	buf := idle
	var large *[]byte
	defer func() { putFrame(large) }()
	calm := 0
	for {
		n, err := r.Read(buf[len(s.header):])
		if n > 0 {
			m, err := send(buf[:len(s.header)+n])
			sent += int64(m)
			if err != nil {
				return sent, nil, err
			}
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

// sendFrame sends a message, header and body, in as many parts as the credit and the pace demand. It returns how many
// bytes of the body were sent. It leaves the header in its place.
func (s *sender) sendFrame(frame []byte) (sent int, err error) {
	whole := frame
	defer func() { copy(whole, s.header) }()
	for len(frame) > len(s.header) {
		n, err := s.next(len(frame) - len(s.header))
		if err != nil {
			return sent, err
		}
		if err := s.write(frame[:len(s.header)+n], n); err != nil {
			return sent, err
		}
		sent += n
		// The bytes that were sent make room for the header of the rest.
		frame = frame[n:]
		copy(frame, s.header)
	}
	return sent, nil
}

// send sends all of p. It returns how many bytes were sent.
func (s *sender) send(p []byte) (sent int, err error) {
	large := framePool.Get().(*[]byte)
	defer putFrame(large)
	frame := append((*large)[:0], s.header...)
	for len(p) > 0 {
		n := min(len(p), s.limit-len(s.header))
		m, err := s.sendFrame(append(frame, p[:n]...))
		sent += m
		if err != nil {
			return sent, err
		}
		p = p[n:]
	}
	return sent, nil
}
