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

// State is the state of a [Session]. States only move forward.
type State int

const (
	// StateStarting is the first state.
	StateStarting = iota
	// StateReady means that clients can attach.
	StateReady
	// StateClosing means that the session has begun to close. Its command may still be running.
	StateClosing
	// StateDone means that the session is done: nothing of its command is left.
	StateDone
)

// Session is a command in a terminal that outlives its clients. Clients attach to it and detach. It runs in GNU screen, on
// the machine where its [Execer] runs commands. A Session is safe for concurrent use.
//
// A session closes when its command exits, when no client has been attached for the session timeout, or when Close is
// called. On a machine without screen the session is done at once. Attach then starts the command like any other.
type Session struct {
	command Command
	execer  Execer
	timeout time.Duration
	name    string // the session's name on its machine; never the client's ID, which may be any text
	started time.Time

	closing context.Context // ends when the session begins to close
	close   context.CancelCauseFunc

	mu      sync.Mutex // guards what follows
	state   State
	err     error         // the first error that came with a change of state
	changed chan struct{} // closed at the next change of state
	clients int
	shared  bool // several clients have been attached at once since none was
	running bool // the command has been told to go
	idle    *time.Timer
	fitting *time.Timer // runs fit; nil before it is needed
	result  error       // what Wait of an attached process returns; set when the session is closing
	env     []string    // for the session's shells, after the command's variables; not changed after StateReady
	keeper  *keeper     // nil before StateReady
}

const (
	// startTimeout bounds the start of a session.
	startTimeout = 10 * time.Second
	// firstAttachTimeout is how long a new session waits for its first client at the least, even if the session timeout is
	// shorter.
	firstAttachTimeout = 30 * time.Second
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

// NewSession starts a session for the command and returns at once. The command runs in a terminal, even if its TTY is false.
// If the start fails, Attach returns the error. The command and the options are read before NewSession returns. The caller
// owns the session: it closes itself after the session timeout, or use [Session.Close].
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
	// Ends when the session is done.
	go s.live()
	return s
}

// live runs the session from its start until it is done.
func (s *Session) live() {
	defer s.idle.Stop()
	k, err := s.start(s.closing, startKeeper)
	if err != nil {
		if s.closing.Err() != nil {
			err = context.Cause(s.closing)
		}
		s.advance(StateDone, err, err)
		return
	}
	s.env = k.env
	s.setKeeper(k)
	s.advance(StateReady, nil, nil)
	for k != nil {
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
	s.advance(StateDone, nil, nil)
}

type keeperStart func(context.Context, Execer, string, time.Duration, Command) (*keeper, error)

// end ends what is left of the command and removes the session's files from its machine. If the keeper is lost, another
// keeper does this.
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

// howExited returns what Wait returns for the command's exit.
func (s *Session) howExited(k *keeper) error {
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
func (s *Session) rejoin(lost *keeper) *keeper {
	if isClosed(lost.commandDone) {
		s.advance(StateClosing, errSessionDone, s.howExited(lost))
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

func (s *Session) setKeeper(k *keeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeper = k
	if s.running {
		// The lost keeper may not have got these orders.
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

// expire closes the session because no client has been attached for the session timeout.
func (s *Session) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == 0 { // Otherwise a client has attached at this moment.
		s.close(xerrors.New("session is closing: session timeout"))
	}
}

// advance moves the session forward to a state.
func (s *Session) advance(state State, err, result error) {
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

// Attach waits until the session is ready, attaches to it, and returns the attached process once that shows the session.
// When the context ends the process detaches and exits. The session continues.
//
// Wait of the process returns the exit of the session's command. If the process has detached, it returns an error instead.
// Close detaches. Signal sends a signal to the command. Pid is that of the attached process.
func (s *Session) Attach(ctx context.Context) (Process, error) {
	p, err := s.attach(ctx, s.command, func() {})
	if errors.Is(err, errNoScreen) {
		c := s.command
		c.ID, c.TTY = "", true
		return s.execer.Start(ctx, c)
	}
	return p, err
}

// attach is Attach for a client with the terminal that c describes. It calls detached when the attached process has exited,
// or when the start has failed.
func (s *Session) attach(ctx context.Context, c Command, detached func()) (Process, error) {
	if err := s.addClient(ctx); err != nil {
		detached()
		return nil, err
	}
	return s.display(ctx, c, detached)
}

// addClient waits until the session is ready, and counts a client.
func (s *Session) addClient(ctx context.Context) error {
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
	s.shared = s.shared || s.clients > 0
	s.clients++
	s.idle.Stop()
	return nil
}

// removeClient stops counting a client. ago is how long ago the client began to detach.
func (s *Session) removeClient(ago time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients--
	s.shared = s.shared && s.clients > 0
	if s.clients == 0 && s.state == StateReady {
		s.idle.Reset(max(0, s.timeout-ago))
	}
	if s.clients > 0 {
		s.fitSoon()
	}
}

// fitSoon fits the terminal to the client that attached last. It first gives screen time to notice the change. The lock is
// held.
func (s *Session) fitSoon() {
	if s.fitting == nil {
		s.fitting = time.AfterFunc(fitPause, s.fit)
	}
	s.fitting.Reset(fitPause)
}

func (s *Session) fit() {
	if !s.isClosing() {
		s.currentKeeper().order("fit")
	}
}

// display starts an attaching process and waits until it shows the session. The client has been counted. When the process
// exits, it stops counting the client and calls detached.
func (s *Session) display(ctx context.Context, c Command, detached func()) (Process, error) {
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
		session:  s,
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

// shown is called when a client sees the session. For the first client it tells the command to go: now the terminal has a
// client's size. Screen gives it the size of a later client itself, unless it still shows the session to another one, who
// may be about to detach. Then shown fits the terminal to the new client. shown returns when the command goes, since what is
// typed before that is cleared from the display, and when the terminal has the client's size.
func (s *Session) shown(ctx context.Context) error {
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

// Close closes the session. The command's terminal is hung up. If the command does not exit then, it is killed. Close
// returns when the session is done. This takes some seconds, or up to a minute if its machine does not answer. The reason is
// for the clients: they get it as an error.
func (s *Session) Close(reason string) {
	s.close(xerrors.Errorf("session is closing: %s", reason))
	_, _ = s.WaitForState(StateDone)
}

// Wait waits until the session begins to close. Its command may still be running then.
func (s *Session) Wait() { _, _ = s.WaitForState(StateClosing) }

// WaitForState waits until the session has reached the state or a later one. It returns the current state, and the first
// error that came with a change of state.
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

// isClosing reports whether the session has begun to close. It is true after that too.
func (s *Session) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state >= StateClosing || s.closing.Err() != nil
}

// signalError returns why the command takes no signals, or nil if it takes them. If the session was lost or closed, the
// error is that of Wait, since the command may still be running.
func (s *Session) signalError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state < StateClosing:
		return context.Cause(s.closing)
	case errors.Is(s.err, errSessionDone):
		return errProcessDone
	}
	return s.result
}

// isDone reports whether the session is done.
func (s *Session) isDone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == StateDone
}
