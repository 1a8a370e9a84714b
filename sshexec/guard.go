package sshexec

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// guard sees to it that a connection has a warden, which knows what to end when the connection is lost.
type guard struct {
	sessions *sessions
	limit    time.Duration // for the start of a warden

	turn    chan struct{}     // holds a token while somebody uses what follows
	warden  *warden           // nil before the first start
	watched map[*process]bool // what the warden is to end, and whether it knows the process itself to have ended
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

// present returns the warden, which is started if there is none.
func (g *guard) present(ctx context.Context) (*warden, error) {
	if err := g.lock(ctx); err != nil {
		return nil, err
	}
	if w := g.warden; w != nil && !isClosed(w.gone) {
		g.unlock()
		return w, nil
	}
	begun := make(chan error, 1)
	var w *warden
	// Ends when the warden has started or failed to, at the latest with the connection. Nobody else starts one before.
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

// start starts a warden that knows what to watch. The token is held.
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
	// Ends when the warden is gone and another has started or failed to, soon after the connection at the latest.
	go g.replace(w)
	return w, nil
}

// brief tells a warden what those before it watched. It returns when the warden knows. The token is held.
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

// replaceDelay keeps a host from being busy with wardens if it ends each of them at once.
const replaceDelay = 500 * time.Millisecond

// replace has another warden follow one that is gone, if there is anything to watch.
func (g *guard) replace(w *warden) {
	<-w.gone
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

// watch has the process ended when the connection is lost.
func (g *guard) watch(p *process) {
	_ = g.lock(context.Background())
	defer g.unlock()
	g.watched[p] = false
	g.warden.busy.Store(true)
	g.warden.tell(order("watch", p))
}

// reaped is for a process that has ended, though perhaps not the rest of its group: its number may become another's.
func (g *guard) reaped(p *process) {
	_ = g.lock(context.Background())
	defer g.unlock()
	g.watched[p] = true
	g.warden.tell(order("reaped", p))
}

// done is for a process of which nothing is left, and which was reaped.
func (g *guard) done(p *process) {
	_ = g.lock(context.Background())
	defer g.unlock()
	delete(g.watched, p)
	g.warden.busy.Store(len(g.watched) > 0)
	g.warden.tell(order("done", p))
}

// room returns a directory for a command's file, another than the one that is gone.
func (g *guard) room(ctx context.Context, gone string) (dir string, err error) {
	err = g.give(ctx, func(w *warden) error {
		if err := g.lock(ctx); err != nil {
			return err
		}
		defer g.unlock()
		if w.dir == gone {
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

// give calls do with the warden, and once more with the next one if it turns out to be gone.
func (g *guard) give(ctx context.Context, do func(*warden) error) error {
	w, err := g.present(ctx)
	if err != nil {
		return err
	}
	if err = do(w); err == nil || !isClosed(w.gone) {
		return err
	}
	if w, err = g.present(ctx); err != nil {
		return err
	}
	return do(w)
}
