package readiness

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// set is the descriptors to wait for. One goroutine waits for all of them. It runs while there are any.
type set struct {
	mu      sync.Mutex // guards what follows
	epoll   *epoll     // nil while nothing is waited for
	waiting map[int32]waiter
	last    int32
}

// waiter is one descriptor to wait for. Its key in the set is a number of its own, because the system reuses
// descriptors.
type waiter struct {
	fd int
	do func()
}

// shared is the set of this program.
var shared set

// When calls do once, on a goroutine of its own, when the descriptor is readable or at its end. hurry makes that call
// now, unless it was made. The caller must call hurry before it closes the descriptor, unless do has been called. On
// systems without epoll(7) the error matches [errors.ErrUnsupported].
func When(fd int, do func()) (hurry func(), err error) {
	id, err := shared.add(fd, do)
	if err != nil {
		return nil, err
	}
	return func() { shared.hurry(id) }, nil
}

func (s *set) add(fd int, do func()) (id int32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.endIfIdle()
	id = s.number()
	if err := s.epoll.add(fd, id); err != nil {
		return 0, err
	}
	s.waiting[id] = waiter{fd, do}
	return id, nil
}

// number returns a number that is not in use. The lock is held.
func (s *set) number() int32 {
	for {
		s.last++
		if _, used := s.waiting[s.last]; !used {
			return s.last
		}
	}
}

func (s *set) hurry(id int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call(id)
}

// begin starts the waiting goroutine if there is none. The lock is held.
func (s *set) begin() (err error) {
	if s.epoll != nil {
		return nil
	}
	if s.epoll, err = newEpoll(); err != nil {
		return err
	}
	s.waiting = make(map[int32]waiter)
	// Ends when the set is empty.
	go s.run(s.epoll)
	return nil
}

// endIfIdle ends the waiting goroutine if there is nothing to wait for. The lock is held.
func (s *set) endIfIdle() {
	if s.epoll != nil && len(s.waiting) == 0 {
		_ = s.epoll.f.Close()
		s.epoll, s.waiting = nil, nil
	}
}

// call calls back, unless that was done. The lock is held.
func (s *set) call(id int32) {
	if w, ok := s.waiting[id]; ok {
		delete(s.waiting, id)
		s.epoll.remove(w.fd)
		s.endIfIdle() // The epoll descriptor is closed before the callback, which may report that no descriptors are open.
		go w.do()
	}
}

func (s *set) run(e *epoll) {
	var events [32]unix.EpollEvent
	for {
		n := e.wait(events[:])
		s.mu.Lock()
		if s.epoll != e {
			s.mu.Unlock()
			return
		}
		for _, event := range events[:n] {
			s.call(event.Fd)
		}
		s.mu.Unlock()
	}
}

// epoll is an epoll instance (epoll(7)). The runtime's poller waits for it, so that the wait takes no thread.
type epoll struct {
	f    *os.File
	conn syscall.RawConn
}

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // Otherwise the runtime takes it for a blocking file.
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "epoll")
	conn, _ := f.SyscallConn() // It fails only for a nil file.
	return &epoll{f, conn}, nil
}

func (e *epoll) add(fd int, id int32) error {
	return e.control(unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: id})
}

func (e *epoll) remove(fd int) { _ = e.control(unix.EPOLL_CTL_DEL, fd, nil) }

func (e *epoll) control(op, fd int, event *unix.EpollEvent) error {
	var err error
	closed := e.conn.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), op, fd, event) })
	if closed != nil {
		return closed
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// wait waits for events. It returns how many there are, or 0 if e was closed.
func (e *epoll) wait(events []unix.EpollEvent) (n int) {
	_ = e.conn.Read(func(epoll uintptr) bool {
		n, _ = unix.EpollWait(int(epoll), events, 0)
		return n > 0
	})
	return max(n, 0)
}
