package sshexec

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// warden is a shell on the host that signals and ends the commands of its connection. See warden.sh.
type warden struct {
	ch     *channel
	orders chan string
	closed chan struct{} // closed when the warden's session is closed or lost
	busy   atomic.Bool   // there are commands to watch

	mu      sync.Mutex // guards what follows
	asked   int
	waiting map[string]chan<- string // by number of the order

	dir string // guarded by the guard's turn
}

// newWarden starts a warden in a session. dir is the directory of the warden before it, or "".
func newWarden(ch *channel, dir string) (*warden, error) {
	m := newMark()
	if err := ch.exec(wardenLine(m, dir), nil); err != nil {
		return nil, err
	}
	out := &output{r: ch.Channel, ch: ch}
	answer, err := out.line(m)
	if err != nil {
		return nil, noStart(ch, out, err)
	}
	if dir, err = roomAnswer(answer); err != nil {
		return nil, err
	}
	w := &warden{
		ch:      ch,
		dir:     dir,
		orders:  make(chan string),
		closed:  make(chan struct{}),
		waiting: make(map[string]chan<- string),
	}
	// Both end when the connection is closed or the warden exits.
	go w.read(m, out)
	go w.write()
	return w, nil
}

// roomAnswer returns the directory that the warden has made.
func roomAnswer(answer string) (dir string, err error) {
	word, rest, _ := strings.Cut(answer, " ")
	if rest == "null" {
		return "", &wsep.StartError{Err: errNoNull}
	}
	if word != "dir" {
		return "", &wsep.StartError{Err: xerrors.Errorf("host has no room for temporary files: %s", rest)}
	}
	return rest, nil
}

// room has the warden make a new directory, because the old one does not exist any more.
func (w *warden) room(ctx context.Context) error {
	answer, err := w.ask(ctx, "room", rand.Text())
	if err != nil {
		return err
	}
	dir, err := roomAnswer(answer)
	if err == nil {
		w.dir = dir
	}
	return err
}

// read passes answers to the goroutines that wait for them.
func (w *warden) read(m mark, out *output) {
	defer close(w.closed)
	defer w.ch.drop()
	for {
		line, err := out.line(m)
		if err != nil {
			return
		}
		id, answer, _ := strings.Cut(line, " ")
		w.mu.Lock()
		if waiting, ok := w.waiting[id]; ok {
			waiting <- answer
			delete(w.waiting, id)
		}
		w.mu.Unlock()
	}
}

// beatInterval is how long a warden with commands to watch gets no order at most. Servers may close a silent session:
// OpenSSH's ChannelTimeout is at least a second.
const beatInterval = 500 * time.Millisecond

// write sends the orders, and an empty line in each beatInterval while there are commands to watch.
func (w *warden) write() {
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	for {
		order := "\n"
		select {
		case order = <-w.orders:
		case <-beat.C:
			if !w.busy.Load() {
				continue
			}
		case <-w.closed:
			return
		}
		if _, err := w.ch.Write([]byte(order)); err != nil {
			w.ch.drop()
			return
		}
	}
}

// tell gives orders that have no answer.
func (w *warden) tell(orders string) {
	select {
	case w.orders <- orders:
	case <-w.closed:
	}
}

// ask gives an order and waits for the answer.
func (w *warden) ask(ctx context.Context, order ...string) (string, error) {
	answer := make(chan string, 1)
	id := w.expect(answer)
	defer w.forget(id)
	select {
	case w.orders <- id + " " + strings.Join(order, " ") + "\n":
	case <-w.closed:
		return "", wsep.ErrDisconnected
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select {
	case a := <-answer:
		return a, nil
	case <-w.closed:
		return "", wsep.ErrDisconnected
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// expect returns the number of the next order. Its answer is sent to the channel, which must have room.
func (w *warden) expect(answer chan<- string) (id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	id = strconv.Itoa(w.asked)
	w.waiting[id] = answer
	return id
}

func (w *warden) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, id)
}
