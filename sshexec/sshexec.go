// Package sshexec runs commands on an SSH host, as a [wsep.Execer] over golang.org/x/crypto/ssh.
//
// Given to a [wsep.Server] it makes a gateway: what the server's clients start runs on the SSH host, and their sessions
// live there. [New] runs commands over a connection that the caller has, a [Redialer] over connections that it makes
// itself.
//
// # The host
//
// It needs a POSIX system with /bin/sh, and a login whose shell understands exec and single quotes as sh, bash, zsh,
// fish and tcsh do. That shell starts as SSH has it start: what it reads first may change the environment. What it
// prints before the command starts is dropped. Environment variables do not depend on the server's AcceptEnv.
//
// Signals and the end of commands do not depend on the server either, of which many refuse signals: one more session on
// each connection, a shell that waits, sends them. When the connection is lost it ends the commands that the connection
// ran. For that it has a directory in TMPDIR or /tmp. Where somebody removes that, or kills the shell, there will be
// another that knows the commands. OpenSSH allows ten sessions on a connection unless its MaxSessions says otherwise:
// nine commands, then. A Redialer opens further connections.
//
// # What differs
//
// A Command's UID and GID must be the login's own, or 0. Arguments, environment and directory may have any bytes but
// NUL, and make a line of at most 128 KiB with their quotes. A program that is no script with an interpreter, ELF or
// Mach-O is refused, because a shell would run it as a script. A terminal has the type of the variable TERM in Env, and
// is an xterm-256color without. Both outputs share a window of 2 MiB: what is not read of one holds up the other once
// that is full.
//
// dropbear takes a line of 9000 bytes, of which sshexec needs some 2500, and drops output that comes after the end of
// the command itself. It has no process groups for commands without a terminal: those need setsid on the host, without
// which only the command itself is signaled and ended.
package sshexec

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"cdr.dev/wsep"
)

// New returns an Execer that runs commands over a connection, each in a session of its own. The connection stays the
// caller's, who closes it in the end; what still runs is then lost. The Execer is safe for concurrent use.
//
// It notices a lost connection when the connection's own reads and writes do. A caller who wants that to happen for one
// that only falls silent sends it keep-alives, as a Redialer does.
//
// A Start that the server refuses because it allows no more sessions matches wsep.ErrBusy.
func New(client *ssh.Client) wsep.Execer { return newExecer(client, unlimited) }

// execer runs commands over one connection.
type execer struct {
	client   *ssh.Client
	sessions *sessions
	guard    *guard
	grace    time.Duration // startGrace
}

// unlimited is for a host of which nothing is known.
const unlimited = math.MaxInt

func newExecer(client *ssh.Client, limit int) *execer {
	s := newSessions(client, limit)
	return &execer{client, s, newGuard(s), startGrace}
}

// Start implements wsep.Execer. Its processes are also wsep.Signalers. A command of a context that is [wsep.Lasting] is left
// alone when the connection is lost.
func (e *execer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	return e.begin(ctx, c, e.sessions.take())
}

// begin starts a command that has the place.
func (e *execer) begin(ctx context.Context, c wsep.Command, at *place) (wsep.Process, error) {
	err := ctx.Err()
	if err == nil {
		err = validate(c)
	}
	if err != nil {
		at.leave()
		return nil, &wsep.StartError{Err: err}
	}
	c.Args, c.Env = slices.Clone(c.Args), slices.Clone(c.Env)
	begun := make(chan started, 1)
	// Ends when the command has started or failed to, soon after the context or with the connection. A command that
	// starts when the context has ended ends at once.
	go func() {
		defer at.leave()
		p, err := e.start(ctx, c, wsep.Lasting(ctx), at)
		begun <- started{p, err}
	}()
	select {
	case r := <-begun:
		if r.err != nil {
			return nil, r.err
		}
		return r.process, nil
	case <-ctx.Done():
		return nil, lost(ctx.Err())
	}
}

// started is how the start of a command went.
type started struct {
	process *process
	err     error
}

// startGrace is how long a host has for telling whether a command has started when the context has ended, so that it
// can be ended. Then the session is closed.
const startGrace = 5 * time.Second

func (e *execer) start(ctx context.Context, c wsep.Command, lasting bool, at *place) (*process, error) {
	dir, err := e.guard.room(ctx, "")
	if err != nil {
		return nil, err
	}
	p, err := e.startIn(ctx, dir, c, lasting, at)
	if !errors.Is(err, errNoWarden) {
		return p, err
	}
	if dir, err = e.guard.room(ctx, dir); err != nil {
		return nil, err
	}
	return e.startIn(ctx, dir, c, lasting, at)
}

// startIn starts a command that has a file in the warden's directory, unless it is a lasting one.
func (e *execer) startIn(ctx context.Context, dir string, c wsep.Command, lasting bool, at *place) (*process, error) {
	m := newMark()
	if lasting {
		dir = ""
	}
	limit := maxLine
	if e.sessions.dropbear {
		limit = maxDropbearLine
	}
	line, err := startLine(c, m, dir, limit)
	if err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	ch, err := e.sessions.open(ctx, at)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(e.grace, ch.drop) })
	defer stop()
	if err := ch.exec(line, terminalOf(c)); err != nil {
		ch.drop()
		return nil, err
	}
	stdout := &output{r: ch.Channel, ch: ch}
	pid, err := awaitStart(c, m, ch, stdout)
	if err != nil {
		ch.drop()
		return nil, err
	}
	p := newProcess(c, m, pid, ch, stdout, e.guard)
	p.bind(ctx)
	if !lasting {
		// Ends when the session is closed or dropped.
		go p.guarded()
	}
	return p, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
