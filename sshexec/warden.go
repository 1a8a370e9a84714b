package sshexec

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// warden is a shell on the host that signals and ends what its connection runs. See warden.sh.
type warden struct {
	ch     *channel
	dir    string
	orders chan string
	gone   chan struct{} // closed when it has ended

	mu      sync.Mutex // guards what follows
	asked   int
	waiting map[string]chan<- string // by order
}

// newWarden starts a warden in a session.
func newWarden(ch *channel) (*warden, error) {
	m := newMark()
	if err := ch.exec(wardenLine(m), nil); err != nil {
		return nil, err
	}
	out := &output{r: ch.Channel, ch: ch}
	dir, err := awaitWarden(m, ch, out)
	if err != nil {
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

// awaitWarden waits until the warden works, and returns its directory.
func awaitWarden(m mark, ch *channel, out *output) (dir string, err error) {
	line, err := out.line(m)
	if err != nil {
		return "", noStart(ch, out, err)
	}
	word, rest, _ := strings.Cut(line, " ")
	if word != "dir" {
		return "", &wsep.StartError{Err: xerrors.Errorf("host has no room for temporary files: %s", rest)}
	}
	return rest, nil
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

// write sends the orders.
func (w *warden) write() {
	for {
		select {
		case order := <-w.orders:
			if _, err := w.ch.Write([]byte(order)); err != nil {
				w.ch.drop()
				return
			}
		case <-w.gone:
			return
		}
	}
}

// done tells the warden that nothing is left of a command.
func (w *warden) done(pid int) {
	select {
	case w.orders <- fmt.Sprintf("- done %d\n", pid):
	case <-w.gone:
	}
}

// ask gives an order and waits for the answer.
func (w *warden) ask(ctx context.Context, order string, pid int, args ...string) (string, error) {
	answer := make(chan string, 1)
	id := w.expect(answer)
	defer w.forget(id)
	select {
	case w.orders <- fmt.Sprintf("%s %s %d %s\n", id, order, pid, strings.Join(args, " ")):
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
