package wsep

import (
	"context"
	"sync"

	"golang.org/x/xerrors"
)

// State is where a Session is in its life. States only move forward.
type State int

const (
	// StateStarting is the first state.
	StateStarting = iota
	// StateReady means that the session can be attached to.
	StateReady
	// StateClosing means that the session has begun to close. Its process may still be running.
	StateClosing
	// StateDone means that the session has closed and its process has ended.
	StateDone
)

// Session is a command that clients attach to. It does not survive its client yet: each attach runs the command anew.
type Session struct {
	command Command
	execer  Execer

	mu      sync.Mutex // guards what follows
	state   State
	err     error
	changed chan struct{} // closed at the next change of state
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup
}

// NewSession returns a session for the command. What goes wrong in starting it is returned by Attach.
func NewSession(command *Command, execer Execer, options *Options) *Session {
	s := &Session{command: *command, execer: execer, changed: make(chan struct{}), state: StateReady}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// Attach starts the command and returns its process, which ends with the context or with the session.
func (s *Session) Attach(ctx context.Context) (Process, error) {
	state, err := s.WaitForState(StateReady)
	if state > StateReady {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	p, err := s.execer.Start(ctx, s.command)
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	s.running.Go(func() {
		defer cancel()
		defer stop()
		_ = p.Wait()
	})
	return p, nil
}

// Close ends the session and waits until its processes have ended.
func (s *Session) Close(reason string) {
	s.setState(StateClosing, xerrors.Errorf("session is closing: %s", reason))
	s.end()
	s.running.Wait()
	s.setState(StateDone, nil)
}

// Wait waits until the session begins to close.
func (s *Session) Wait() { _, _ = s.WaitForState(StateClosing) }

// WaitForState waits until the session is in the state or a later one. It returns the state, and the first error that
// came with a change of state.
func (s *Session) WaitForState(state State) (State, error) {
	for {
		s.mu.Lock()
		current, err, changed := s.state, s.err, s.changed
		s.mu.Unlock()
		if current >= state {
			return current, err
		}
		<-changed
	}
}

func (s *Session) setState(state State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state <= s.state {
		return
	}
	if s.err == nil {
		s.err = err
	}
	s.state = state
	close(s.changed)
	s.changed = make(chan struct{})
}
