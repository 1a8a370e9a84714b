package wsep

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/xerrors"
)

// screenHost is the host of a session in GNU screen. The session's lock guards its fields too, unless they do not change.
type screenHost struct {
	*Session
	name string   // the session's name on its machine; never the client's ID, which may be any text
	env  []string // for the session's shells, after the command's variables; not changed after StateReady

	running bool        // the command has been told to go
	fitting *time.Timer // runs fit; nil before it is needed
	keeper  *screenKeeper
}

const (
	// outcomeTimeout is how long an attached process that has exited waits for the command's exit. The keeper that reports
	// the exit may be slow, or may be replaced at that moment. Without this wait an exit would look like a detach.
	outcomeTimeout = 10 * time.Second
	// noticeGrace is how long an attached process has to notice that the session is done.
	noticeGrace = 500 * time.Millisecond
	// attachGrace is how long an attaching process has to show the session if it is to detach at once.
	attachGrace = 2 * time.Second
	// detachTimeout is how long an attached process has to detach. See attachScript.
	detachTimeout = 3 * time.Second
	// detachPause is how long an attached process has to notice the signal to detach.
	detachPause = 50 * time.Millisecond
	// drainTimeout is how long a client has to read the last output of a session that is closing.
	drainTimeout = time.Minute
	// fitPause is how long screen has to notice that a client has changed its size, or has detached.
	fitPause = 50 * time.Millisecond
)

// startScreenHost starts the session's command in screen. The command waits there for the first client.
func startScreenHost(s *Session) (sessionHost, error) {
	h := &screenHost{Session: s, name: uuid.NewString()}
	k, err := h.runKeeper(s.closing, startKeeper)
	if err != nil {
		return nil, err
	}
	h.keeper, h.env = k, k.env
	return h, nil
}

// keep implements sessionHost.
func (s *screenHost) keep() {
	for k := s.currentKeeper(); k != nil; {
		select {
		case <-s.closing.Done():
			err := context.Cause(s.closing)
			s.advance(StateClosing, err, err)
			s.end(k)
			k = nil
		case <-k.commandDone:
			s.advance(StateClosing, errSessionDone, s.howExited(k))
			s.end(k)
			k = nil
		case <-k.done:
			k = s.rejoin(k)
		}
	}
}

type keeperStart func(context.Context, Execer, string, time.Duration, Command) (*screenKeeper, error)

// end ends what is left of the command and removes the session's files from its machine. If the keeper is lost, another
// keeper does this.
func (s *screenHost) end(k *screenKeeper) {
	if k.end() {
		return
	}
	if k, err := s.runKeeper(context.Background(), rejoinKeeper); err == nil {
		k.end()
	}
}

// runKeeper starts a keeper.
func (s *screenHost) runKeeper(ctx context.Context, start keeperStart) (*screenKeeper, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := s.command
	c.Env = slices.Concat(c.Env, s.env)
	return start(ctx, s.execer, s.name, s.timeout, c)
}

// howExited returns what Wait returns for the command's exit.
func (s *screenHost) howExited(k *screenKeeper) error {
	select {
	case exit := <-k.exit:
		if exit.code == 0 {
			return nil
		}
		return exit
	default:
		return xerrors.New("session's command was killed in an unknown way")
	}
}

// rejoin replaces a keeper that was lost, for example because the connection of its Execer was. It tries for the session
// timeout. If it fails the session is closing, and rejoin returns nil.
func (s *screenHost) rejoin(lost *screenKeeper) *screenKeeper {
	if isClosed(lost.commandDone) {
		s.advance(StateClosing, errSessionDone, s.howExited(lost))
		s.end(lost)
		return nil
	}
	giveUp := time.NewTimer(s.timeout)
	defer giveUp.Stop()
	for pause := rejoinPause; ; pause = min(2*pause, maxRejoinPause) {
		k, err := s.runKeeper(s.closing, rejoinKeeper)
		if err == nil {
			s.setKeeper(k)
			return k
		}
		if errors.Is(err, errSessionLost) {
			s.advance(StateClosing, err, err)
			return nil
		}
		select {
		case <-time.After(pause):
		case <-s.closing.Done():
			cause := context.Cause(s.closing)
			s.advance(StateClosing, cause, cause)
			s.end(lost)
			return nil
		case <-giveUp.C:
			s.advance(StateClosing, err, err)
			return nil
		}
	}
}

// The pause between two tries to replace a lost keeper. It doubles from rejoinPause to maxRejoinPause.
const (
	rejoinPause    = 50 * time.Millisecond
	maxRejoinPause = 5 * time.Second
)

func (s *screenHost) setKeeper(k *screenKeeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeper = k
	if s.running {
		// The lost keeper may not have got these orders.
		k.order("go")
		k.order("fit")
	}
}

func (s *screenHost) currentKeeper() *screenKeeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keeper
}

// attach implements sessionHost. It waits until the process shows the session.
func (s *screenHost) attach(ctx context.Context, c Command, detached func()) (Process, error) {
	if c.Env == nil {
		c.Env = s.command.Env
	}
	c.Env = slices.Concat(c.Env, withoutSettings(c.Env), s.env)
	c.UID, c.GID = s.command.UID, s.command.GID
	// The process outlives its client's context for as long as detaching takes. That includes a context that ends during the
	// start.
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(attachGrace+detachTimeout, cancel) })
	inner, err := s.currentKeeper().attach(life, s.execer, c)
	stop()
	if err != nil {
		cancel()
		s.removeClient(0)
		detached()
		return nil, err
	}
	p := &sessionProcess{
		Process:  inner,
		host:     s,
		detached: detached,
		display:  &display{r: inner.Stdout()},
		cancel:   cancel,
		attached: make(chan struct{}),
		done:     make(chan struct{}),
	}
	// These end when the process exits.
	go p.follow(ctx)
	go p.awaitAttached()
	select {
	case <-p.attached:
	case <-time.After(startTimeout):
		p.detach()
		return nil, xerrors.Errorf("attach to session: %w", context.DeadlineExceeded)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := p.attachError(); err != nil {
		p.detach()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	if err := s.shown(ctx); err != nil {
		p.detach()
		return nil, err
	}
	return p, nil
}

// removeClient stops counting a client, and fits the terminal to those that are left.
func (s *screenHost) removeClient(ago time.Duration) {
	s.Session.removeClient(ago)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients > 0 {
		s.fitSoon()
	}
}

// fitSoon fits the terminal to the client that attached last. It first gives screen time to notice the change. The lock is
// held.
func (s *screenHost) fitSoon() {
	if s.fitting == nil {
		s.fitting = time.AfterFunc(fitPause, s.fit)
	}
	s.fitting.Reset(fitPause)
}

func (s *screenHost) fit() {
	if !s.isClosing() {
		s.currentKeeper().order("fit")
	}
}

// shown is called when a client sees the session. For the first client it tells the command to go: now the terminal has a
// client's size. Screen gives it the size of a later client itself, unless it still shows the session to another one, who
// may be about to detach. Then shown fits the terminal to the new client. shown returns when the command goes, since what is
// typed before that is cleared from the display, and when the terminal has the client's size.
func (s *screenHost) shown(ctx context.Context) error {
	s.mu.Lock()
	first, shared, k := !s.running, s.shared, s.keeper
	s.running = true
	s.mu.Unlock()
	if first {
		k.order("go")
	}
	select {
	case <-k.running:
	case <-k.done: // The next keeper tells the command to go. It is unknown when.
	case <-time.After(startTimeout):
		return xerrors.Errorf("start session's command: %w", context.DeadlineExceeded)
	case <-ctx.Done():
		return ctx.Err()
	}
	if first || !shared {
		return nil
	}
	return k.fit(ctx)
}

// signal implements sessionHost.
func (s *screenHost) signal(_ context.Context, signal string) error {
	return s.currentKeeper().signal(signal)
}

// describe implements sessionHost. Screen does not tell.
func (s *screenHost) describe(*SessionInfo) {}
