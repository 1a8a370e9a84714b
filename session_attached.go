package wsep

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"
)

// sessionProcess is a process that shows a session.
type sessionProcess struct {
	Process
	session *Session
	display *display
	cancel  context.CancelFunc // ends the process by force
	left    func()             // called when the process has ended, before its result is known

	leaving  atomic.Pointer[time.Time] // since when the process is to leave; nil if it is not
	attached chan struct{}             // closed when the process shows the session, or can't any more
	done     chan struct{}             // closed when result is set
	result   error
}

// awaitAttached waits for the session to be shown.
func (p *sessionProcess) awaitAttached() {
	defer close(p.attached)
	for !p.display.drawn() && p.display.err == nil {
		p.display.fill(4 << 10)
	}
}

// attachError returns why the process shows nothing, if it does not. That its command has just ended is for Wait to tell.
func (p *sessionProcess) attachError() error {
	if p.display.err == nil {
		return nil
	}
	if complaint := bytes.TrimSpace(p.display.held); len(complaint) > 0 && !p.display.drawn() {
		return xerrors.Errorf("attach to session: %q", complaint)
	}
	<-p.done
	if p.session.over() {
		if _, exited := errors.AsType[ExitError](p.result); exited {
			return nil
		}
		return p.result
	}
	return xerrors.Errorf("attach to session: %w", p.result)
}

// follow detaches the process when its client's context ends, and finds out how it ended.
func (p *sessionProcess) follow(ctx context.Context) {
	stop := context.AfterFunc(ctx, p.detach)
	running, ended := context.WithCancel(context.Background())
	// Ends with the process.
	go p.endWithSession(running)
	err := p.Process.Wait()
	stop()
	ended()
	p.result = p.outcome(err)
	p.session.leave(p.leavingFor())
	p.left()
	close(p.done)
	if p.session.over() {
		// What is left of the output may be read as slowly as its reader likes, within reason, while there is one.
		reading, release := context.WithTimeout(ctx, drainTimeout)
		context.AfterFunc(reading, func() {
			release()
			p.cancel()
		})
	} else {
		p.cancel()
	}
}

// endWithSession ends the process if it does not notice that the session is done. screen can't tell when it was killed.
func (p *sessionProcess) endWithSession(running context.Context) {
	if state, _ := p.session.waitForState(running, StateDone); state != StateDone {
		return
	}
	select {
	case <-running.Done():
	case <-time.After(noticeGrace):
		p.detach()
	}
}

// outcome returns what Wait returns for how the attaching process ended.
func (p *sessionProcess) outcome(err error) error {
	if errors.Is(err, ErrDisconnected) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), outcomeTimeout)
	defer cancel()
	if p.leaving.Load() == nil {
		// It may be that screen is gone, but not the command.
		p.session.currentKeeper().order("check")
		_, _ = p.session.waitForState(ctx, StateClosing)
	}
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	if p.session.state < StateClosing {
		return errDetached
	}
	return p.session.result
}

// leavingFor returns for how long the process has been leaving.
func (p *sessionProcess) leavingFor() time.Duration {
	if since := p.leaving.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}

// detach makes the attaching process leave, when it has arrived: see attachScript. It may take no notice yet, so it is
// told until it does.
func (p *sessionProcess) detach() {
	if now := time.Now(); !p.leaving.CompareAndSwap(nil, &now) {
		return
	}
	// Ends with the process, for which it sets a limit.
	go func() {
		defer p.cancel()
		await(p.attached, p.done, arriveGrace)
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		for signalProcess(ctx, p.Process, "TERM") == nil {
			select {
			case <-p.done:
				return
			case <-ctx.Done():
				return
			case <-time.After(leavePause):
			}
		}
	}()
}

// Resize implements Process. One of several clients has its size if it came last.
func (p *sessionProcess) Resize(ctx context.Context, rows, cols uint16) error {
	if err := p.Process.Resize(ctx, rows, cols); err != nil {
		return err
	}
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	if p.session.clients > 1 {
		p.session.fitSoon()
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

// Close implements Process. The session goes on.
func (p *sessionProcess) Close() error {
	p.detach()
	return nil
}

// Exited implements [Exiter].
func (p *sessionProcess) Exited() <-chan struct{} { return p.done }

// Signal implements Signaler.
func (p *sessionProcess) Signal(_ context.Context, signal string) error {
	if p.session.over() {
		return errProcessDone
	}
	return p.session.currentKeeper().signal(signal)
}
