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

// warden is a shell on the host that signals and ends what its connection runs. See warden.sh.
type warden struct {
	ch     *channel
	orders chan string
	gone   chan struct{} // closed when it has ended
	busy   atomic.Bool   // it watches over something

	mu      sync.Mutex // guards what follows
	asked   int
	waiting map[string]chan<- string // by order

	dir string // guarded by the guard's turn
}

// newWarden starts a warden in a session, in place of the one that had the directory, if any.
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
		gone:    make(chan struct{}),
		waiting: make(map[string]chan<- string),
	}
	// These end with the connection, or when somebody ends the warden.
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

// room has the warden make a directory in place of the one that is gone.
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

// read takes the answers.
func (w *warden) read(m mark, out *output) {
	defer close(w.gone)
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

// beatInterval is how long a warden that watches over something is told nothing at most. Servers may close a session that
// is silent: OpenSSH's ChannelTimeout is seconds at least.
const beatInterval = 500 * time.Millisecond

// write sends the orders, and an empty one where there has been none for a while.
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
		case <-w.gone:
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
	case <-w.gone:
	}
}

// ask gives an order and waits for the answer.
func (w *warden) ask(ctx context.Context, order ...string) (string, error) {
	answer := make(chan string, 1)
	id := w.expect(answer)
	defer w.forget(id)
	select {
	case w.orders <- id + " " + strings.Join(order, " ") + "\n":
	case <-w.gone:
		return "", wsep.ErrDisconnected
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select {
	case a := <-answer:
		return a, nil
	case <-w.gone:
		return "", wsep.ErrDisconnected
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// expect has the next answer sent to the channel, which must have room. It returns the order's number.
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
