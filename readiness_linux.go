package wsep

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// readiness calls back when descriptors become readable. One goroutine waits for all of them, while there are any: a
// goroutine for each, with its stack, would be most of what an idle process costs.
type readiness struct {
	mu      sync.Mutex            // guards what follows
	epoll   *epoll                // nil while nothing is waited for
	waiting map[int32]readyWaiter // by a number of their own, since the system uses a descriptor's again
	last    int32
}

type readyWaiter struct {
	fd int
	do func()
}

// watched is what all processes of this program share.
var watched readiness

// add has do called, once and on a goroutine of its own, when fd is readable or at its end. Before the caller closes fd, it
// calls hurry with the number that it gets.
func (r *readiness) add(fd int, do func()) (id int32, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(); err != nil {
		return 0, err
	}
	defer r.endIfIdle()
	id = r.number()
	if err := r.epoll.add(fd, id); err != nil {
		return 0, err
	}
	r.waiting[id] = readyWaiter{fd, do}
	return id, nil
}

// number returns a number that is not in use. The lock is held.
func (r *readiness) number() int32 {
	for {
		r.last++
		if _, used := r.waiting[r.last]; !used {
			return r.last
		}
	}
}

// hurry makes a callback now, if it has not been made.
func (r *readiness) hurry(id int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call(id)
	r.endIfIdle()
}

// begin sees to it that somebody waits. The lock is held.
func (r *readiness) begin() (err error) {
	if r.epoll != nil {
		return nil
	}
	if r.epoll, err = newEpoll(); err != nil {
		return err
	}
	r.waiting = make(map[int32]readyWaiter)
	// Ends when nothing is waited for any more.
	go r.run(r.epoll)
	return nil
}

// endIfIdle lets nobody wait if there is nothing to wait for. The lock is held.
func (r *readiness) endIfIdle() {
	if r.epoll != nil && len(r.waiting) == 0 {
		_ = r.epoll.f.Close()
		r.epoll, r.waiting = nil, nil
	}
}

// call makes a callback, if it has not been made. The lock is held.
func (r *readiness) call(id int32) {
	if w, ok := r.waiting[id]; ok {
		delete(r.waiting, id)
		r.epoll.remove(w.fd)
		go w.do()
	}
}

func (r *readiness) run(e *epoll) {
	var events [32]unix.EpollEvent
	for {
		n := e.wait(events[:])
		r.mu.Lock()
		if r.epoll != e {
			r.mu.Unlock()
			return
		}
		for _, event := range events[:n] {
			r.call(event.Fd)
		}
		r.endIfIdle()
		r.mu.Unlock()
	}
}

// epoll is an epoll instance (epoll(7)) for which the runtime's poller waits, and so no thread.
type epoll struct {
	f    *os.File
	conn syscall.RawConn
}

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // Without it the runtime takes it for a file that blocks.
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "epoll")
	conn, _ := f.SyscallConn() // It fails for nil alone.
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

// wait waits for events and returns how many there are, which is none if e has been closed.
func (e *epoll) wait(events []unix.EpollEvent) (n int) {
	_ = e.conn.Read(func(epoll uintptr) bool {
		n, _ = unix.EpollWait(int(epoll), events, 0)
		return n > 0
	})
	return max(n, 0)
}

// whenReadable has do called, once and on a goroutine of its own, when f is readable or at its end. hurry has it called
// now, if it has not been, and must be called before f is closed. It reports false where the system does not support it.
func whenReadable(f *os.File, do func()) (hurry func(), ok bool) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, false
	}
	var id int32
	failed := conn.Control(func(fd uintptr) { id, err = watched.add(int(fd), do) })
	if failed != nil || err != nil {
		return nil, false
	}
	return func() { watched.hurry(id) }, true
}
