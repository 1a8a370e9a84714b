package wsep

import (
	"context"
	"errors"
	"sync"
	"time"

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

// SessionKind says what keeps sessions. The contract is the same for all kinds, but for what the kinds say.
type SessionKind int

const (
	// SessionsAuto is SessionsScreen where GNU screen is fit for use, and SessionsNative elsewhere.
	SessionsAuto SessionKind = iota
	// SessionsScreen keeps a session in GNU screen, on the machine where its [Execer] runs commands. The session outlives the
	// connection to that machine. Screen has 256 colors and no scrollback for clients. A command that a signal has killed has
	// exit code 128 and the signal's number. Where screen is not fit for use the command is started without a session.
	SessionsScreen
	// SessionsNative keeps a session in this process: in a model of its terminal. The session lives as long as the process
	// that its [Execer] has started.
	SessionsNative
)

// Session is a command that outlives its clients. Clients attach to it and detach. A Session is safe for concurrent use.
//
// Most commands run in a terminal, and [Options.Sessions] says what keeps that. The session closes when its command exits, when no
// client has been attached for the session timeout, or when Close is called. A command that exits before the first client has
// attached waits for that client.
//
// A command with [Command.Keep] runs without a terminal, however long no client is attached. After its exit the session stays ready
// for that time, and longer while clients are attached.
type Session struct {
	command    Command
	execer     Execer
	kind       SessionKind
	scrollback int
	keepOutput int64         // how many bytes of each output a kept command keeps
	remember   time.Duration // bounds [Command.Keep]
	started    time.Time

	closing context.Context // ends when the session begins to close
	close   context.CancelCauseFunc

	mu      sync.Mutex // guards what follows
	state   State
	err     error         // the first error that came with a change of state
	changed chan struct{} // closed at the next change of state
	timeout time.Duration // how long the session waits for a client
	clients int
	shared  bool // several clients have been attached at once since none was
	idle    *time.Timer
	result  error       // what Wait of an attached process returns; set when the session is closing
	host    sessionHost // nil before StateReady; not changed after that
}

// A sessionHost keeps the command of a session, and shows it to clients.
type sessionHost interface {
	// keep returns when nothing is left of the command. Before that it moves the session to StateClosing.
	keep()
	// attach returns a process that shows the session to a client with the terminal that c describes. The client has been
	// counted. When the process has exited, or if the start fails, the host calls removeClient and then detached.
	attach(ctx context.Context, c Command, detached func()) (Process, error)
	// signal sends a signal to the command's process group.
	signal(ctx context.Context, signal string) error
	// describe sets what the host knows beyond the session: LastLine, Exited, Exit, Stdout and Stderr.
	describe(info *SessionInfo)
}

const (
	// startTimeout bounds the start of a session.
	startTimeout = 10 * time.Second
	// firstAttachTimeout is how long a new session waits for its first client at the least, even if the session timeout is
	// shorter.
	firstAttachTimeout = 30 * time.Second
)

// NewSession starts a session for the command and returns at once. The command runs in a terminal, even if its TTY is false, unless
// it has Keep.
// If the start fails, Attach returns the error. The command and the options are read before NewSession returns. The caller
// owns the session: it closes itself after the session timeout, or use [Session.Close].
func NewSession(command *Command, execer Execer, options *Options) *Session {
	opts := options.withDefaults()
	s := &Session{
		command:    *command,
		execer:     execer,
		timeout:    opts.SessionTimeout,
		kind:       opts.Sessions,
		scrollback: max(opts.Scrollback, 0),
		keepOutput: int64(max(opts.KeepOutput, 0)),
		remember:   opts.SessionTimeout,
		started:    time.Now(),
		changed:    make(chan struct{}),
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
	host, err := s.start()
	if err != nil {
		if s.closing.Err() != nil {
			err = context.Cause(s.closing)
		}
		s.advance(StateDone, err, err)
		return
	}
	s.mu.Lock()
	s.host = host
	s.mu.Unlock()
	s.advance(StateReady, nil, nil)
	host.keep()
	s.advance(StateDone, nil, nil)
}

// start starts the session's command in a host.
func (s *Session) start() (sessionHost, error) {
	if s.command.isKept() {
		return startKeptHost(s)
	}
	if s.kind != SessionsNative {
		host, err := startScreenHost(s)
		if s.kind == SessionsScreen || !errors.Is(err, errNoScreen) {
			return host, err
		}
	}
	return startNativeHost(s)
}

var (
	errSessionDone = xerrors.New("session is done")
	// errDetached is what Wait of an attached process returns when its session continues.
	errDetached = xerrors.New("detached from session")
)

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
	return s.host.attach(ctx, c, detached)
}

// startProcess starts a command for a host in this process. The command outlives the context that bounds its start, until cancel is
// called.
func (s *Session) startProcess(c Command) (p Process, cancel context.CancelFunc, err error) {
	starting, started := context.WithTimeout(s.closing, startTimeout)
	defer started()
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(starting, cancel)
	p, err = s.execer.Start(life, c)
	if err != nil {
		cancel()
		if starting.Err() != nil {
			return nil, nil, starting.Err()
		}
		return nil, nil, err
	}
	stop()
	return p, cancel, nil
}

// endProcess ends a process of startProcess. It returns when ended is closed, or after a while.
func endProcess(p Process, cancel context.CancelFunc, ended <-chan struct{}) {
	limit := endTimeout
	if group, ok := processAs[processGroup](p); ok {
		limit += group.endDelay()
	}
	_ = p.Close()
	await(ended, nil, limit)
	cancel()
	await(ended, nil, limit)
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
}

// setTimeout sets how long the session waits for a client from now on.
func (s *Session) setTimeout(timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeout = timeout
	if s.clients == 0 {
		s.idle.Reset(timeout)
	}
}

// keptFor returns how long after its exit the command is remembered. It is 0 if the command is not kept.
func (s *Session) keptFor() time.Duration {
	if !s.command.isKept() {
		return 0
	}
	return min(s.command.Keep, s.remember)
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

// signal sends the command a signal, as Signal of an attached process does.
func (s *Session) signal(ctx context.Context, signal string) error {
	if err := checkSignal(signal); err != nil {
		return err
	}
	if state, err := s.waitForState(ctx, StateReady); state < StateReady {
		return err
	}
	if err := s.signalError(); err != nil {
		return err
	}
	return s.host.signal(ctx, signal)
}

// waitCommand waits until the command has exited and the session is done, and returns what Wait of an attached process returns.
// The session of a kept command need not be done.
func (s *Session) waitCommand(ctx context.Context) error {
	if state, _ := s.waitForState(ctx, StateReady); state < StateReady {
		return ctx.Err()
	}
	s.mu.Lock()
	kept, ok := s.host.(*keptHost)
	s.mu.Unlock()
	if ok {
		return kept.wait(ctx)
	}
	if state, _ := s.waitForState(ctx, StateDone); state < StateDone {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.result
}

// isDone reports whether the session is done.
func (s *Session) isDone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == StateDone
}
