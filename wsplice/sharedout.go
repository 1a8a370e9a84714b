package wsplice

import (
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// sharedOut is the way to the other end of a connection that many channels share. A channel writes under its lock, and waits
// there. Who must not wait leaves an answer, which a goroutine sends that lives only while there is one.
type sharedOut struct {
	line    *line
	timeout time.Duration // how long the other end may take nothing
	failed  func(error)   // called when it can't be written to; it must not wait
	wg      *sync.WaitGroup

	mu   sync.Mutex // held while writing; guards what follows
	over bool       // nothing is written any more

	answers struct {
		mu      sync.Mutex // guards what follows. It may be taken while mu is held
		list    []answer
		size    int
		working bool // the goroutine lives
	}
}

// answer is a frame to be sent.
type answer struct {
	frame []byte
	first func() // if set, called before that, with the lock held
}

// maxAnswers bounds the answers that wait for an end that does not read, in bytes.
const maxAnswers = 16 << 20

var (
	errPeerStalled = xerrors.New("peer has taken nothing for the write timeout")
	errPeerDeaf    = xerrors.New("peer reads no answers")
)

// write writes all pieces, which it uses up. The lock is held.
func (o *sharedOut) write(pieces [][]byte) error {
	if o.over {
		return nil
	}
	err := o.line.writeAll(pieces, o.timeout)
	if err == nil {
		return nil
	}
	if isTimeout(err) {
		err = errPeerStalled
	}
	o.over = true
	o.failed(err)
	return err
}

// writeLast writes a frame after which nothing is written.
func (o *sharedOut) writeLast(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.write([][]byte{frame})
	o.over = true
}

// answer has a frame sent, without waiting.
func (o *sharedOut) answer(a answer) {
	q := &o.answers
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size += len(a.frame); q.size > maxAnswers {
		o.failed(errPeerDeaf)
		return
	}
	q.list = append(q.list, a)
	if !q.working {
		q.working = true
		// Ends when there are no answers left. Interrupting the connection keeps none of them waiting.
		o.wg.Go(o.sendAnswers)
	}
}

func (o *sharedOut) sendAnswers() {
	for {
		list := o.takeAnswers()
		if list == nil {
			return
		}
		o.mu.Lock()
		var pieces [][]byte
		for _, a := range list {
			if a.first != nil {
				a.first()
			}
			pieces = append(pieces, a.frame)
		}
		_ = o.write(pieces)
		o.mu.Unlock()
	}
}

func (o *sharedOut) takeAnswers() []answer {
	q := &o.answers
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list, q.size = nil, 0
	q.working = list != nil
	return list
}
