// Package sshexec runs commands on an SSH host, as a [wsep.Execer] over golang.org/x/crypto/ssh.
//
// [New] returns an Execer for a connection of the caller. A [Redialer] makes its connections itself. A [wsep.Server]
// with such an Execer is a gateway: the commands and the sessions of its clients are on the SSH host.
//
// # The host
//
// The host must be a POSIX system with /bin/sh. The login's shell must understand exec and single quotes as sh, bash,
// zsh, fish and tcsh do. The SSH server starts this shell as usual, so its startup files may change the environment.
// Their output is dropped. Environment variables do not depend on the server's AcceptEnv.
//
// Many servers refuse signals. So each connection has one more session, the warden: a shell that waits. It sends
// signals to commands and ends them. When the connection is lost, it ends the connection's commands. It has a directory
// in TMPDIR or /tmp. If the directory is removed or the shell is killed, another warden takes its place. OpenSSH allows
// ten sessions on a connection (MaxSessions), so nine commands. A Redialer opens further connections.
//
// # What differs
//
// A Command's UID and GID must be the login's own, or 0. Arguments, environment and directory may have any bytes but
// NUL. Quoted, they may take 128 KiB in all. A program must be ELF, Mach-O, or a script that names its interpreter.
// Other files are refused, because a shell would run them as scripts. The type of a terminal is the variable TERM in
// Env, or xterm-256color without it. Both outputs share a window of 2 MiB: when one is not read and the window is full,
// the other waits too.
//
// dropbear takes 9000 bytes instead of 128 KiB, and sshexec needs some 2500 of them. It drops output that comes after
// the command's own process has exited. It makes no process groups for commands without a terminal. If the host has the
// program setsid, sshexec makes them. Otherwise only the command's own process is signaled and ended.
//
// dropbear 2022.82 to 2024.85 may close a connection, with all its commands, when one of them exits just before another
// starts (https://github.com/mkj/dropbear/issues/321). So a Redialer makes a connection for each command there. With New
// run one command at a time on such a host.
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

// New returns a [wsep.Execer] that runs commands over a connection, each in a session of its own. The connection stays
// the caller's. When the caller closes it, commands that still run are ended, and their Wait returns an error that
// matches [wsep.ErrDisconnected]. The Execer is safe for concurrent use.
//
// The Execer notices a lost connection when a read or a write of the connection fails. It sends no keep-alives. To
// notice a silent host the caller must send some, as a [Redialer] does.
//
// If the server allows no more sessions, the error of Start matches [wsep.ErrBusy].
func New(client *ssh.Client) wsep.Execer { return newExecer(client, unlimited) }

// execer runs commands over one connection.
type execer struct {
	client   *ssh.Client
	sessions *sessions
	guard    *guard
	grace    time.Duration // startGrace
}

// unlimited is the limit of a host whose limit is not known.
const unlimited = math.MaxInt

func newExecer(client *ssh.Client, limit int) *execer {
	s := newSessions(client, limit)
	return &execer{client, s, newGuard(s), startGrace}
}

// Start implements [wsep.Execer]. Its processes are also [wsep.Signaler]s. When the connection is lost, a command whose
// context is [wsep.Lasting] runs on.
func (e *execer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	return e.begin(ctx, c, e.sessions.take())
}

// begin starts a command at a place.
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
	// Ends when the command has started or failed to start, soon after the context ends or when the connection is
	// closed. A command that starts after the end of the context is ended at once.
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

// started is the result of a start.
type started struct {
	process *process
	err     error
}

// startGrace is how long a host may take to report a start after the end of the context. A command that has started in
// this time is ended. After it the session is closed.
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

// startIn starts a command. It makes a file in the warden's directory, unless it is lasting.
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
