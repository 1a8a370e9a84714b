package sshexec

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// guard starts and replaces the warden of a connection. It tells each warden which commands to end when the connection
// is lost.
type guard struct {
	sessions *sessions
	limit    time.Duration // how long the start of a warden may take

	turn    chan struct{}     // a lock with a context for what follows: holds a token while locked
	warden  *warden           // nil before the first start
	watched map[*process]bool // the processes that the warden ends; true if the warden knows of the exit
}

// wardenLimit is how long a login's shell may take to start a warden.
const wardenLimit = 30 * time.Second

func newGuard(s *sessions) *guard {
	return &guard{
		sessions: s,
		limit:    wardenLimit,
		turn:     make(chan struct{}, 1),
		watched:  make(map[*process]bool),
	}
}

// present returns the warden. It starts one if there is none.
func (g *guard) present(ctx context.Context) (*warden, error) {
	if err := g.lock(ctx); err != nil {
		return nil, err
	}
	if w := g.warden; w != nil && !isClosed(w.closed) {
		g.unlock()
		return w, nil
	}
	begun := make(chan error, 1)
	var w *warden
	// Ends when the warden has started or failed to start, at the latest when the connection is closed. It holds the
	// token, so no other warden is started meanwhile.
	go func() {
		defer g.unlock()
		var err error
		w, err = g.start()
		begun <- err
	}()
	select {
	case err := <-begun:
		return w, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *guard) lock(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *guard) unlock() { <-g.turn }

// start starts a warden and tells it what to watch. The token is held.
func (g *guard) start() (*warden, error) {
	dir := ""
	if g.warden != nil {
		dir = g.warden.dir
	}
	ch, err := g.sessions.open(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	slow := time.AfterFunc(g.limit, ch.drop)
	w, err := newWarden(ch, dir)
	if err == nil {
		err = g.brief(w)
	}
	if !slow.Stop() {
		return nil, &wsep.StartError{Err: xerrors.Errorf("login's shell has started nothing within %v", g.limit)}
	}
	if err != nil {
		ch.drop()
		return nil, err
	}
	g.warden = w
	w.busy.Store(len(g.watched) > 0)
	// Ends when the warden's session is closed and another has started or failed to start, at the latest soon after the
	// connection is closed.
	go g.replace(w)
	return w, nil
}

// brief tells a new warden which processes to watch. It returns when the warden has carried out these orders. The token
// is held.
func (g *guard) brief(w *warden) error {
	for p, reaped := range g.watched {
		w.tell(order("watch", p))
		if reaped {
			w.tell(order("reaped", p))
		}
	}
	_, err := w.ask(context.Background(), "briefed")
	return err
}

// replaceDelay is the pause before the next warden. Without it a host that ends each warden at once would be busy
// starting them.
const replaceDelay = 500 * time.Millisecond

// replace starts the next warden when w's session is closed, if there are processes to watch.
func (g *guard) replace(w *warden) {
	<-w.closed
	time.Sleep(replaceDelay)
	_ = g.lock(context.Background())
	watching := len(g.watched) > 0
	g.unlock()
	if watching {
		_, _ = g.present(context.Background())
	}
}

// order returns an order that has no answer.
func order(word string, p *process) string { return fmt.Sprintf("- %s %d\n", word, p.pid) }

// watch has the warden end the process when the connection is lost.
func (g *guard) watch(p *process) {
	_ = g.lock(context.Background())
	defer g.unlock()
	g.watched[p] = false
	g.warden.busy.Store(true)
	g.warden.tell(order("watch", p))
}

// reaped tells the warden that the process has exited. The rest of its group may still run. Its number may be given to
// another process.
func (g *guard) reaped(p *process) {
	_ = g.lock(context.Background())
	defer g.unlock()
	g.watched[p] = true
	g.warden.tell(order("reaped", p))
}

// done has the warden forget a reaped process. Nothing of its group is left.
func (g *guard) done(p *process) {
	_ = g.lock(context.Background())
	defer g.unlock()
	delete(g.watched, p)
	g.warden.busy.Store(len(g.watched) > 0)
	g.warden.tell(order("done", p))
}

// room returns a directory for a command's file. missing is a directory that does not exist any more, or "".
func (g *guard) room(ctx context.Context, missing string) (dir string, err error) {
	err = g.give(ctx, func(w *warden) error {
		if err := g.lock(ctx); err != nil {
			return err
		}
		defer g.unlock()
		if w.dir == missing {
			if err := w.room(ctx); err != nil {
				return err
			}
		}
		dir = w.dir
		return nil
	})
	return dir, err
}

// ask gives the warden an order and waits for the answer.
func (g *guard) ask(ctx context.Context, order ...string) (answer string, err error) {
	err = g.give(ctx, func(w *warden) error {
		answer, err = w.ask(ctx, order...)
		return err
	})
	return answer, err
}

// give calls do with the warden. If the warden's session is closed meanwhile, it calls do once more with the next
// warden.
func (g *guard) give(ctx context.Context, do func(*warden) error) error {
	w, err := g.present(ctx)
	if err != nil {
		return err
	}
	if err = do(w); err == nil || !isClosed(w.closed) {
		return err
	}
	if w, err = g.present(ctx); err != nil {
		return err
	}
	return do(w)
}
