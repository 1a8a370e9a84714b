//go:build !windows

package wsep

import (
	"syscall"
	"time"
)

// Close implements Process.
func (p *localProcess) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isDone() {
		return nil
	}
	p.closed = p.closed || p.reaped
	if p.ending {
		if isClosed(p.groupDone) {
			p.releaseOutputs()
		}
		return nil
	}
	p.ending = true
	p.signalGroups(syscall.SIGTERM)
	p.signalGroups(syscall.SIGCONT) // A stopped process handles no signal before SIGCONT.
	go p.endGroup()
	return nil
}

// contextEnded ends the process. If Close has already been called it kills it at once. When the group has exited, unread
// output is dropped, and so is output that other processes hold.
func (p *localProcess) contextEnded(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.cause = cause
	}
	p.canceled = true
	switch {
	case p.isDone() && !p.ending:
		close(p.groupDone)
	case p.ending:
		p.kill()
		p.releaseOutputs()
	default:
		p.ending = true
		p.signalGroups(syscall.SIGTERM)
		if p.tty != nil {
			p.signalGroups(syscall.SIGHUP)
		}
		p.signalGroups(syscall.SIGCONT)
		go p.endGroup()
	}
}

// groupInterval is how often the group of an ended process is checked. The system has no event for the end of a group.
const groupInterval = 10 * time.Millisecond

// endGroup waits until an ended process and its whole group have exited. When their time is up it kills those that are left.
// Ends at the latest about a killDelay after that.
func (p *localProcess) endGroup() {
	ticker := time.NewTicker(groupInterval)
	defer ticker.Stop()
	limit := 2 * p.killDelay
	for began := time.Now(); ; <-ticker.C {
		p.mu.Lock()
		left := !p.reaped || p.groupExists()
		waited := time.Since(began)
		switch {
		case !left || p.killed && waited > limit:
			p.releaseOutputs()
			close(p.groupDone)
			p.mu.Unlock()
			return
		case waited > p.killDelay && !p.killed:
			p.kill()
			limit = waited + p.killDelay // This check may be late.
		case waited > p.killDelay/2 && p.tty != nil && !p.hungUp:
			// SIGHUP comes later than SIGTERM, so that a shell that traps SIGTERM can act on it. A shell that does not trap
			// SIGTERM ignores it, and exits on SIGHUP.
			p.hungUp = true
			p.signalGroups(syscall.SIGHUP)
		}
		p.mu.Unlock()
	}
}

// kill kills the process's groups. The lock is held.
func (p *localProcess) kill() {
	if p.killed {
		return
	}
	p.killed = true
	p.signalGroups(syscall.SIGKILL)
}

// releaseOutputs ends the outputs that processes outside the group may hold, if the caller wants no more of them. The lock
// is held.
func (p *localProcess) releaseOutputs() {
	switch {
	case p.canceled:
		p.drop()
	case p.closed:
		go p.endOutputs()
	}
}

// drop closes all pipes. Unread output is lost. The lock is held.
func (p *localProcess) drop() {
	go p.stdout.close()
	go p.stderr.close()
	if closer, ok := p.stdin.(*pipeStdin); ok {
		go closer.Close()
	}
}

// signalGroups signals the process's group and, in a terminal, the foreground group. The lock is held.
func (p *localProcess) signalGroups(sig syscall.Signal) {
	pid := p.Pid()
	if p.tty != nil {
		if fg := p.tty.foreground(); fg > 0 && fg != pid {
			_ = syscall.Kill(-fg, sig)
		}
	}
	if p.groupExists() {
		_ = syscall.Kill(-pid, sig)
	}
}

// groupExists reports whether any process of the group is left. The lock is held.
func (p *localProcess) groupExists() bool {
	pid := p.Pid()
	if p.reaped && syscall.Kill(pid, 0) == nil {
		// The number is in use again. The system reuses it only when the group is empty, so this is another process.
		return false
	}
	return syscall.Kill(-pid, 0) == nil
}

// awaitGroup waits until no process of the group is left, or its time is up. The process's context has ended.
func (p *localProcess) awaitGroup() {
	p.mu.Lock()
	done := p.isDone() && !p.ending // It was unbound from its context before that ended.
	p.mu.Unlock()
	if !done {
		<-p.groupDone
	}
}
