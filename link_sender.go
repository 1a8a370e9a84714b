package wsep

import (
	"io"
	"sync"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// sender sends one stream over a link, and over the next link if that one is lost. It keeps the bytes that the peer has not
// acknowledged. write, carry and end make the stream's bytes. Each sends them itself, unless another goroutine sends.
type sender struct {
	header string
	stop   <-chan struct{} // closed when nobody is left to send to
	before func()          // called before each message; it waits for what must be sent first. nil waits for nothing

	room chan struct{} // has room for one: a maker of bytes looks again

	// sending is held by the goroutine that sends. A goroutine that holds mu only tries to lock it.
	sending sync.Mutex

	mu      sync.Mutex // guards what follows
	out     *flow.Outbox
	link    *link // nil while there is no connection
	lasting bool  // another link may follow this one, so a write does not fail with it
	limit   int   // of a message's body, in bytes
	pace    int   // how many bytes a message carries at most for now; 0 means as many as limit allows
	ended   bool  // no more bytes will be made
	told    bool  // the link was told that all is sent
	failed  int64 // the offset of the message that could not be sent
}

// maxUnacknowledged is how many bytes a sender keeps at most, in whatever window.
const maxUnacknowledged = defaultWindow

const (
	// slowMessage is how long the writing of a message may take. All else waits meanwhile, pings and their answers too, for
	// which the libraries have 5 s before they close the connection.
	slowMessage = 250 * time.Millisecond
	// minPace is the pace, in bytes, on the slowest network.
	minPace = 1 << 10
	// firstPace is the pace, in bytes, while nothing is known about the network.
	firstPace = 16 << 10
)

func newSender(header string, stop <-chan struct{}) *sender {
	return &sender{header: header, stop: stop, room: make(chan struct{}, 1), out: flow.NewOutbox(header, 0)}
}

// attach begins to send over a link to a peer with these extensions.
func (s *sender) attach(l *link, peer *proto.Extensions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.SetWindow(min(peer.Window, maxUnacknowledged))
	s.link, s.limit, s.pace, s.told = l, sizeLimit(peer)-len(s.header), firstPace, false
	s.out.SetLargest(s.limit)
	wake(s.room)
	s.sendLater()
}

// detach stops sending over a link.
func (s *sender) detach(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == l {
		s.link = nil
	}
}

// forget says that no other link follows, so bytes that were sent are not kept.
func (s *sender) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Forget()
}

// rewind makes the next link carry all bytes from the offset on. Its error matches flow.ErrGap.
func (s *sender) rewind(offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Rewind(offset)
}

// release returns the memory of bytes that nobody will be sent. No link is attached.
func (s *sender) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Release()
}

// ack records how many bytes the peer has consumed.
func (s *sender) ack(offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.out.Ack(offset); err != nil {
		return err
	}
	wake(s.room)
	s.sendLater()
	return nil
}

// sendLater starts a goroutine that sends, if there is something to send and no goroutine sends. The lock is held.
func (s *sender) sendLater() {
	if s.link == nil || (s.out.Unsent() == 0 && !s.allSent()) || !s.sending.TryLock() {
		return
	}
	// Ends when all is sent, or the connection is closed.
	go func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = s.sendAll()
	}()
}

// flush sends what may be sent, unless another goroutine sends. The lock is held, but not while flush writes.
func (s *sender) flush() error {
	if !s.sending.TryLock() {
		return nil
	}
	return s.sendAll()
}

// sendAll sends until nothing may be sent. The caller has locked sending, and sendAll unlocks it. The lock is held, but not
// while sendAll writes.
func (s *sender) sendAll() (err error) {
	defer s.sending.Unlock()
	for s.link != nil && s.out.Unsent() > 0 {
		err = s.sendOne(s.link)
	}
	if s.allSent() {
		s.told = true
		s.link.streamSent()
	}
	return err
}

// allSent reports whether the link has carried the whole stream and was not told so yet. The lock is held.
func (s *sender) allSent() bool {
	return s.ended && s.link != nil && !s.told && s.out.AllSent()
}

// sendOne sends a message over a link. The lock is held, but not while sendOne writes.
func (s *sender) sendOne(l *link) error {
	most := s.limit
	if s.pace > 0 {
		most = min(most, s.pace)
	}
	from := s.out.Sent()
	msg := s.out.Message(most)
	s.mu.Unlock()
	if s.before != nil {
		s.before()
	}
	began := time.Now()
	err := l.write(msg)
	took := time.Since(began)
	s.mu.Lock()
	s.out.Written()
	wake(s.room)
	if s.link != l {
		return nil // The link is detached. The next one carries the message again.
	}
	if err != nil {
		s.link, s.failed = nil, from
		l.fail(err)
		if s.lasting {
			return nil
		}
		return disconnected(err)
	}
	s.setPace(len(msg), took)
	return nil
}

// setPace sets the pace by how long a message of n bytes took. The lock is held.
func (s *sender) setPace(n int, took time.Duration) {
	switch {
	case took > slowMessage:
		s.pace = max(n/4, minPace)
	case s.pace > 0 && took < slowMessage/8:
		if s.pace *= 2; s.pace >= s.limit {
			s.pace = 0
		}
	}
}

// write makes all of p part of the stream. It waits while the window is full. It returns how many bytes it has sent, or
// left to the goroutine that sends.
func (s *sender) write(p []byte) (n int, err error) {
	for len(p) > 0 {
		room, err := s.awaitRoom(1)
		if err != nil {
			return n, err
		}
		m, err := s.put(p[:min(len(p), room)])
		n += m
		p = p[m:]
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// put makes a first part of p part of the stream, and sends what may be sent.
func (s *sender) put(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, errNoReceiver
	}
	s.out.Expect(len(p))
	n = copy(s.out.Space(), p)
	s.out.Commit(n)
	if err := s.flush(); err != nil {
		return max(0, n-int(s.out.Made()-s.failed)), err
	}
	return n, nil
}

// errNoReceiver says that nobody receives what a stream's maker makes.
var errNoReceiver = xerrors.Errorf("nobody receives the stream: %w", flow.ErrStopped)

// carry makes all of r part of the stream. It returns how many bytes it has read, how r ended, which is nil for io.EOF, and
// why the stream takes no more. While the window is full it reads one byte ahead, so that it notices the end of r.
func (s *sender) carry(r io.Reader) (read int64, readErr, sendErr error) {
	for {
		room, err := s.awaitRoom(0)
		if err != nil {
			return read, nil, err
		}
		n, err := r.Read(s.lend(max(1, room)))
		read += int64(n)
		sendErr = s.takeBack(n)
		switch {
		case sendErr != nil:
			return read, nil, sendErr
		case err == io.EOF:
			return read, nil, nil
		case err != nil:
			return read, err, nil
		}
	}
}

// lend returns where the next bytes of the stream, at most most, are to be read.
func (s *sender) lend(most int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	space := s.out.Lend()
	return space[:min(len(space), most)]
}

// takeBack makes the n bytes that were read part of the stream, and sends what may be sent.
func (s *sender) takeBack(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || isClosed(s.stop) {
		s.out.Return(0)
		return errNoReceiver
	}
	s.out.Return(n)
	return s.flush()
}

// awaitIdle waits until no goroutine sends.
func (s *sender) awaitIdle() {
	s.sending.Lock()
	defer s.sending.Unlock()
}

// isIdle reports whether no goroutine sends.
func (s *sender) isIdle() bool {
	if !s.sending.TryLock() {
		return false
	}
	s.sending.Unlock()
	return true
}

// end says that no more bytes will be made.
func (s *sender) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.out.End()
	s.sendLater()
}

// awaitRoom waits until at least some bytes may be made, and returns how many may be. Its error matches flow.ErrStopped.
func (s *sender) awaitRoom(some int) (int, error) {
	for {
		if isClosed(s.stop) {
			return 0, errNoReceiver
		}
		s.mu.Lock()
		room := s.out.Room()
		s.mu.Unlock()
		if room >= int64(some) {
			return int(room), nil
		}
		select {
		case <-s.room:
		case <-s.stop:
		}
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
