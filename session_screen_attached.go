package wsep

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"
)

// sessionProcess is the process that shows a session to a client. It is attached until its client detaches.
type sessionProcess struct {
	Process
	host     *screenHost
	display  *display
	cancel   context.CancelFunc // ends the process by force
	detached func()             // called when the process has exited, before its result is known

	detaching atomic.Pointer[time.Time] // when the process was told to detach; nil if it was not
	attached  chan struct{}             // closed when the process shows the session, or never will
	done      chan struct{}             // closed when result is set
	result    error
}

// awaitAttached waits until the session is shown.
func (p *sessionProcess) awaitAttached() {
	defer close(p.attached)
	for !p.display.drawn() && p.display.err == nil {
		p.display.fill(4 << 10)
	}
}

// attachError returns why the process shows nothing, or nil if it shows something. If the session's command has exited
// already, the error is nil: Wait returns the exit.
func (p *sessionProcess) attachError() error {
	if p.display.err == nil {
		return nil
	}
	if complaint := p.display.complaint(); len(complaint) > 0 {
		if !p.host.isClosing() {
			return xerrors.Errorf("attach to session: %q", complaint)
		}
		// The session's files went away while screen started. Its client is to see the exit alone.
		p.display.drop()
	}
	<-p.done
	if p.host.isClosing() {
		if _, exited := errors.AsType[ExitError](p.result); exited {
			return nil
		}
		return p.result
	}
	return xerrors.Errorf("attach to session: %w", p.result)
}

// follow detaches the process when its client's context ends, and finds out how it exited.
func (p *sessionProcess) follow(ctx context.Context) {
	stop := context.AfterFunc(ctx, p.detach)
	running, ended := context.WithCancel(context.Background())
	// Ends when the process exits.
	go p.endWithSession(running)
	err := p.Process.Wait()
	stop()
	ended()
	p.result = p.outcome(err)
	p.host.removeClient(p.detachingFor())
	p.detached()
	close(p.done)
	if p.host.isClosing() {
		// While the client's context lives, it may read the rest of the output slowly, within drainTimeout.
		reading, release := context.WithTimeout(ctx, drainTimeout)
		context.AfterFunc(reading, func() {
			release()
			p.cancel()
		})
	} else {
		p.cancel()
	}
}

// endWithSession ends the process if it does not notice that the session is done. screen can't tell its clients when it is
// killed.
func (p *sessionProcess) endWithSession(running context.Context) {
	if state, _ := p.host.waitForState(running, StateDone); state != StateDone {
		return
	}
	select {
	case <-running.Done():
	case <-time.After(noticeGrace):
		p.detach()
	}
}

// outcome returns what Wait returns when the attached process has exited with err.
func (p *sessionProcess) outcome(err error) error {
	if errors.Is(err, ErrDisconnected) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), outcomeTimeout)
	defer cancel()
	if p.detaching.Load() == nil {
		// Screen may have been killed while the command still runs.
		p.host.currentKeeper().order("check")
		_, _ = p.host.waitForState(ctx, StateClosing)
	}
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if p.host.state < StateClosing {
		return errDetached
	}
	return p.host.result
}

// detachingFor returns how long ago the process was told to detach.
func (p *sessionProcess) detachingFor() time.Duration {
	if since := p.detaching.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}

// detach makes the attached process detach, once it shows the session: see attachScript. The process may miss a signal at
// first, so the signal is repeated.
func (p *sessionProcess) detach() {
	if now := time.Now(); !p.detaching.CompareAndSwap(nil, &now) {
		return
	}
	// Ends when the process exits, or after attachGrace and detachTimeout.
	go func() {
		defer p.cancel()
		await(p.attached, p.done, attachGrace)
		ctx, cancel := context.WithTimeout(context.Background(), detachTimeout)
		defer cancel()
		for signalProcess(ctx, p.Process, "TERM") == nil {
			select {
			case <-p.done:
				return
			case <-ctx.Done():
				return
			case <-time.After(detachPause):
			}
		}
	}()
}

// Resize implements Process. If several clients are attached, the session has the size of the one that attached last.
func (p *sessionProcess) Resize(ctx context.Context, rows, cols uint16) error {
	if err := p.Process.Resize(ctx, rows, cols); err != nil {
		return err
	}
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if p.host.clients > 1 {
		p.host.fitSoon()
	}
	return nil
}

// Stdout implements Process.
func (p *sessionProcess) Stdout() io.Reader { return p.display }

// Wait implements Process.
func (p *sessionProcess) Wait() error {
	<-p.done
	return p.result
}

// Close implements Process. The session continues.
func (p *sessionProcess) Close() error {
	p.detach()
	return nil
}

// Exited implements [Exiter].
func (p *sessionProcess) Exited() <-chan struct{} { return p.done }

// Signal implements Signaler.
func (p *sessionProcess) Signal(ctx context.Context, signal string) error {
	if err := p.host.signalError(); err != nil {
		return err
	}
	return p.host.signal(ctx, signal)
}
