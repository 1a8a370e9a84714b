package wsep

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/xerrors"
)

// State is where a Session is in its life. States only move forward.
type State int

const (
	// StateStarting is the first state.
	StateStarting = iota
	// StateReady means that the session can be attached to.
	StateReady
	// StateClosing means that the session has begun to close. Its command may still be running.
	StateClosing
	// StateDone means that the session has closed and nothing of its command is left.
	StateDone
)

// Session is a command in a terminal that outlives those who look at it: it runs in GNU screen, where its Execer runs
// commands, and clients attach to it and leave. A Session is safe for concurrent use.
//
// A session closes when its command ends, when nobody has been attached for the session timeout, or when Close is called.
// On a machine without screen there is no session: it is done at once, and Attach starts the command as any other.
type Session struct {
	command Command
	execer  Execer
	timeout time.Duration
	name    string // of what the session has on its machine; never the client's ID, which may be anything
	started time.Time

	closing context.Context // ends when the session begins to close
	close   context.CancelCauseFunc

	mu      sync.Mutex // guards what follows
	state   State
	err     error         // the first error that came with a change of state
	changed chan struct{} // closed at the next change of state
	clients int
	running bool // the command has been told to go
	idle    *time.Timer
	fitting *time.Timer // runs fit; nil before it is needed
	result  error       // how the command ended, once the session is closing
	env     []string    // of all its shells, after the command's variables; not changed after StateReady
	keeper  *keeper     // nil before StateReady
}

const (
	// startTimeout is how long a session has for its start.
	startTimeout = 10 * time.Second
	// firstAttachTimeout is how long a new session waits for its first client at least, however short the session
	// timeout is.
	firstAttachTimeout = 30 * time.Second
	// outcomeTimeout is how long an attached process that has ended waits for word of how the command did. The keeper that
	// brings it may be slow, or may just be being replaced; who does not wait for it takes an end for a detachment.
	outcomeTimeout = 10 * time.Second
	// noticeGrace is how long an attached process has for noticing that the session is done.
	noticeGrace = 500 * time.Millisecond
	// arriveGrace is how long an attaching process has for showing the session when it is to leave at once.
	arriveGrace = 2 * time.Second
	// leaveTimeout is how long an attached process has for leaving when it is told to. See attachScript.
	leaveTimeout = 3 * time.Second
	// leavePause is how long it has for taking notice of that.
	leavePause = 50 * time.Millisecond
	// drainTimeout is how long a client has for reading the last output of a session that is over.
	drainTimeout = time.Minute
	// fitPause is how long screen has for noticing that a client has another size, or has left.
	fitPause = 50 * time.Millisecond
)

// NewSession returns a session for the command, which is run in a terminal whether it asks for one or not. It starts at
// once; what goes wrong is returned by Attach. The command and the options are read before NewSession returns.
func NewSession(command *Command, execer Execer, options *Options) *Session {
	opts := options.withDefaults()
	s := &Session{
		command: *command,
		execer:  execer,
		timeout: opts.SessionTimeout,
		name:    uuid.NewString(),
		started: time.Now(),
		changed: make(chan struct{}),
	}
	s.closing, s.close = context.WithCancelCause(context.Background())
	s.idle = time.AfterFunc(max(s.timeout, firstAttachTimeout), s.expire)
	// Ends with the session.
	go s.live()
	return s
}

// live is the session's life.
func (s *Session) live() {
	defer s.idle.Stop()
	k, err := s.start(s.closing, startKeeper)
	if err != nil {
		if s.closing.Err() != nil {
			err = context.Cause(s.closing)
		}
		s.finish(StateDone, err, err)
		return
	}
	s.env = k.env
	s.setKeeper(k)
	s.finish(StateReady, nil, nil)
	for k != nil {
		select {
		case <-s.closing.Done():
			err := context.Cause(s.closing)
			s.finish(StateClosing, err, err)
			s.end(k)
			k = nil
		case <-k.gone:
			s.finish(StateClosing, errSessionDone, s.howEnded(k))
			s.end(k)
			k = nil
		case <-k.done:
			k = s.rejoin(k)
		}
	}
	s.finish(StateDone, nil, nil)
}

type keeperStart func(context.Context, Execer, string, time.Duration, Command) (*keeper, error)

// end ends what is left of the command and removes what the session has on its machine. If the keeper is lost another
// does it.
func (s *Session) end(k *keeper) {
	if k.end() {
		return
	}
	if k, err := s.start(context.Background(), rejoinKeeper); err == nil {
		k.end()
	}
}

// start starts a keeper.
func (s *Session) start(ctx context.Context, start keeperStart) (*keeper, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := s.command
	c.Env = slices.Concat(c.Env, s.env)
	return start(ctx, s.execer, s.name, s.timeout, c)
}

// howEnded returns what Wait returns for the command's end.
func (s *Session) howEnded(k *keeper) error {
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

// rejoin replaces a keeper that has ended without a word, as when the connection of an Execer was lost. It tries for as
// long as the session outlives its clients. If it does not succeed the session is closing, and there is no keeper.
func (s *Session) rejoin(lost *keeper) *keeper {
	if isClosed(lost.gone) {
		s.finish(StateClosing, errSessionDone, s.howEnded(lost))
		s.end(lost)
		return nil
	}
	giveUp := time.NewTimer(s.timeout)
	defer giveUp.Stop()
	for pause := rejoinPause; ; pause = min(2*pause, maxRejoinPause) {
		k, err := s.start(s.closing, rejoinKeeper)
		if err == nil {
			s.setKeeper(k)
			return k
		}
		if errors.Is(err, errSessionLost) {
			s.finish(StateClosing, err, err)
			return nil
		}
		select {
		case <-time.After(pause):
		case <-s.closing.Done():
			cause := context.Cause(s.closing)
			s.finish(StateClosing, cause, cause)
			s.end(lost)
			return nil
		case <-giveUp.C:
			s.finish(StateClosing, err, err)
			return nil
		}
	}
}

// How long to wait between tries to find a session's keeper again.
const (
	rejoinPause    = 50 * time.Millisecond
	maxRejoinPause = 5 * time.Second
)

func (s *Session) setKeeper(k *keeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeper = k
	if s.running {
		// These orders may have been lost with the last keeper.
		k.order("go")
		k.order("fit")
	}
}

func (s *Session) currentKeeper() *keeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keeper
}

var errSessionDone = xerrors.New("session is done")

// expire closes the session because nobody has been attached for long.
func (s *Session) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == 0 { // Otherwise somebody came at this moment.
		s.close(xerrors.New("session is closing: session timeout"))
	}
}

// finish moves the session on to a state.
func (s *Session) finish(state State, err, result error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state <= s.state {
		return
	}
	if s.err == nil {
		s.err = err
	}
	if state >= StateClosing && s.state < StateClosing {
		s.result = result
	}
	s.state = state
	close(s.changed)
	s.changed = make(chan struct{})
}

// Attach waits for the session to be ready, attaches to it, and returns the attached process once it shows the session.
// The process ends when the context does; the session goes on.
//
// The process's Wait returns how the session's command ended, and an error when the process was detached instead. Its
// Close detaches. Its Signal goes to the command. Its Pid is the attaching process's.
func (s *Session) Attach(ctx context.Context) (Process, error) {
	p, err := s.attach(ctx, s.command, func() {})
	if errors.Is(err, errNoScreen) {
		c := s.command
		c.ID, c.TTY = "", true
		return s.execer.Start(ctx, c)
	}
	return p, err
}

// attach is Attach for a client whose terminal is as the command says. It calls left when the attaching process has ended,
// or it is clear that none is started.
func (s *Session) attach(ctx context.Context, c Command, left func()) (Process, error) {
	if err := s.enter(ctx); err != nil {
		left()
		return nil, err
	}
	return s.display(ctx, c, left)
}

// enter waits for the session to be ready and counts a client.
func (s *Session) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if state, err := s.waitForState(ctx, StateReady); state != StateReady {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != StateReady || s.closing.Err() != nil {
		if s.err != nil {
			return s.err
		}
		return context.Cause(s.closing)
	}
	s.clients++
	s.idle.Stop()
	return nil
}

// leave counts a client no longer, which was gone some time ago.
func (s *Session) leave(ago time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients--
	if s.clients == 0 && s.state == StateReady {
		s.idle.Reset(max(0, s.timeout-ago))
	}
	if s.clients > 0 {
		s.fitSoon()
	}
}

// fitSoon fits the terminal to the client that came last, when screen has had its time to notice what changed. The lock
// is held.
func (s *Session) fitSoon() {
	if s.fitting == nil {
		s.fitting = time.AfterFunc(fitPause, s.fit)
	}
	s.fitting.Reset(fitPause)
}

func (s *Session) fit() {
	if !s.over() {
		s.currentKeeper().order("fit")
	}
}

// display starts an attaching process and waits until it shows something. The client, which has entered, leaves with the
// process, which calls left then.
func (s *Session) display(ctx context.Context, c Command, left func()) (Process, error) {
	if c.Env == nil {
		c.Env = s.command.Env
	}
	c.Env = slices.Concat(c.Env, withoutSettings(c.Env), s.env)
	c.UID, c.GID = s.command.UID, s.command.GID
	// The process outlives its client's context for as long as it takes to leave, also when that ends during its start.
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(arriveGrace+leaveTimeout, cancel) })
	inner, err := s.currentKeeper().attach(life, s.execer, c)
	stop()
	if err != nil {
		cancel()
		s.leave(0)
		left()
		return nil, err
	}
	p := &sessionProcess{
		Process:  inner,
		session:  s,
		left:     left,
		display:  &display{r: inner.Stdout()},
		cancel:   cancel,
		attached: make(chan struct{}),
		done:     make(chan struct{}),
	}
	// These end with the process.
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

// shown is called when a client sees the session. The first sets the command going, for now the terminal has a client's
// size; a further one has the terminal fitted to its own. It returns when the command goes: what is typed before that is
// cleared from the display.
func (s *Session) shown(ctx context.Context) error {
	s.mu.Lock()
	first, shared, k := !s.running, s.clients > 1, s.keeper
	s.running = true
	s.mu.Unlock()
	switch {
	case first:
		k.order("go")
	case shared:
		s.fit()
	}
	select {
	case <-k.running:
	case <-k.done: // The next keeper has the command go, and nobody knows when.
	case <-time.After(startTimeout):
		return xerrors.Errorf("start session's command: %w", context.DeadlineExceeded)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Close closes the session: its command's terminal is hung up, and the command killed if that does not end it. Close
// returns when nothing is left of the command, after some seconds, or within a minute if its machine does not answer.
func (s *Session) Close(reason string) {
	s.close(xerrors.Errorf("session is closing: %s", reason))
	_, _ = s.WaitForState(StateDone)
}

// Wait waits until the session begins to close. Its command may still be running.
func (s *Session) Wait() { _, _ = s.WaitForState(StateClosing) }

// WaitForState waits until the session is in the state or a later one. It returns the state, and the first error that
// came with a change of state.
func (s *Session) WaitForState(state State) (State, error) {
	return s.waitForState(context.Background(), state)
}

func (s *Session) waitForState(ctx context.Context, state State) (State, error) {
	for {
		s.mu.Lock()
		current, err, changed := s.state, s.err, s.changed
		s.mu.Unlock()
		if current >= state {
			return current, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return current, ctx.Err()
		}
	}
}

// over reports whether the session has begun to close.
func (s *Session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state >= StateClosing || s.closing.Err() != nil
}

// done reports whether the session is done.
func (s *Session) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == StateDone
}
