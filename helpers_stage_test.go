package wsep_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/wstest"
)

// stage is an Execer that plays its processes: a session's keeper, which speaks like session_screen.sh, and attaching
// processes.
type stage struct {
	keep   func(p *role) error // plays a keeper; the error is what its Wait returns
	show   func(p *role) error // plays an attaching process
	refuse func(n int) error   // why the nth Start fails, from 1 on
	kind   wsep.SessionKind    // of the sessions
	ending time.Duration       // how long a native session's command takes to exit when it is hung up

	mu    sync.Mutex // guards what follows
	roles []*role    // those that Start was called for

	sessions []*wsep.Session
}

// onStage runs a test in fake time, and closes its sessions. Some time later no goroutine, no process and no context may be
// left. synctest looks for goroutines.
func onStage(t *testing.T, name string, test func(t *testing.T, st *stage)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			st := &stage{keep: keep, show: show, refuse: func(int) error { return nil }}
			t.Cleanup(func() { st.requireNothingLeft(t) })
			test(t, st)
		})
	})
}

// overStages is onStage for each kind of session.
func overStages(t *testing.T, name string, test func(t *testing.T, st *stage)) {
	for kind, of := range map[string]wsep.SessionKind{"screen": wsep.SessionsScreen, "native": wsep.SessionsNative} {
		onStage(t, name+", "+kind, func(t *testing.T, st *stage) {
			st.kind = of
			test(t, st)
		})
	}
}

// command returns the process that says how a session's command exits.
func (st *stage) command() *role {
	if st.kind == wsep.SessionsNative {
		return st.last("command")
	}
	return st.last("new")
}

// options returns options with the stage's kind of session.
func (st *stage) options(opts *wsep.Options) *wsep.Options {
	if opts == nil {
		opts = &wsep.Options{}
	}
	if opts.Sessions == wsep.SessionsAuto {
		opts.Sessions = st.kind
	}
	return opts
}

func (st *stage) requireNothingLeft(t *testing.T) {
	for _, s := range st.sessions {
		s.Close("the test is over")
	}
	time.Sleep(2 * time.Minute)
	for n, p := range st.roles {
		require.Error(t, p.ctx.Err(), "start %d (%s) is not let go of", n+1, p.kind)
		require.True(t, p.isOver(), "start %d (%s) has not ended", n+1, p.kind)
	}
}

// Start implements wsep.Execer.
func (st *stage) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p := &role{
		Command: c, stage: st, kind: kindOfStart(c), ctx: ctx, began: time.Now(), events: make(chan string, 100),
		over: make(chan struct{}),
	}
	p.stdout, p.out = io.Pipe()
	if st.kind == wsep.SessionsNative && c.TTY {
		p.kind = "command"
	}
	if p.kind == "environment" { // It starts, and prints nothing.
		p.end(nil)
		return p, nil
	}
	st.mu.Lock()
	st.roles = append(st.roles, p)
	n := len(st.roles)
	st.mu.Unlock()
	if err := st.refuse(n); err != nil {
		p.end(err)
		return nil, err
	}
	play := st.show
	switch p.kind {
	case "new", "join":
		play = st.keep
	case "command":
		play = command
	}
	context.AfterFunc(ctx, func() { p.end(ctx.Err()) })
	// Ends when the process has ended.
	go func() { p.end(play(p)) }()
	return p, nil
}

// all returns the processes of a kind, in the order of their starts.
func (st *stage) all(kind string) []*role {
	st.mu.Lock()
	defer st.mu.Unlock()
	var found []*role
	for _, p := range st.roles {
		if p.kind == kind {
			found = append(found, p)
		}
	}
	return found
}

// last returns the last process of a kind.
func (st *stage) last(kind string) *role {
	all := st.all(kind)
	return all[len(all)-1]
}

// session makes a session on the stage.
func (st *stage) session(timeout time.Duration) *wsep.Session {
	return st.start(&wsep.Options{SessionTimeout: timeout})
}

// start is session for any options.
func (st *stage) start(opts *wsep.Options) *wsep.Session {
	s := wsep.NewSession(&wsep.Command{ID: "1", Command: "true"}, st, st.options(opts))
	st.sessions = append(st.sessions, s)
	return s
}

// serve returns a function that starts a command over a new connection to the server. The test closes the server.
func (st *stage) serve(
	t *testing.T, srv *wsep.Server, opts *wsep.Options,
) (start func(wsep.Command) (wsep.Process, error)) {
	opts = st.options(opts)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(srv.Close)
	t.Cleanup(cancel)
	return func(c wsep.Command) (wsep.Process, error) {
		client, server := wstest.Pipe()
		// Ends with ctx.
		go func() {
			code, reason := wsep.CloseStatus(srv.ServeConn(ctx, server, st, opts))
			_ = server.Close(code, reason)
		}()
		return wsep.RemoteExecerConn(client).Start(ctx, c)
	}
}

// role is a played process.
type role struct {
	wsep.Command
	stage  *stage
	kind   string // "command" in a native session; otherwise see kindOfStart
	ctx    context.Context
	began  time.Time
	stdout *io.PipeReader
	out    *io.PipeWriter
	events chan string // what the process is told: orders, signals, and what the test wants it to do

	over chan struct{} // closed when the process has ended and err is set

	mu    sync.Mutex // guards what follows
	told  []string   // orders and signals, each after the time since the process's start
	ended bool
	err   error
}

// commandEnds makes a keeper say how the command exited. The attached processes exit too.
func (p *role) commandEnds(how string) {
	if how != "gone" {
		p.say(how)
	}
	p.say("gone")
	for _, q := range p.stage.all("attach") {
		q.do("end")
	}
}

// say writes a line.
func (p *role) say(line string) { _, _ = io.WriteString(p.out, line+"\n") }

// next waits for an event. It returns an empty event when the process has exited.
func (p *role) next() string {
	select {
	case e := <-p.events:
		return e
	case <-p.over:
		return ""
	}
}

// pause waits for d, or until the process exits.
func (p *role) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.over:
	}
}

// do sends the process an event.
func (p *role) do(event string) {
	select {
	case p.events <- event:
	default: // It has exited.
	}
}

// tell is do for the session's orders and signals.
func (p *role) tell(order string) {
	p.mu.Lock()
	p.told = append(p.told, fmt.Sprint(time.Since(p.began), " ", order))
	p.mu.Unlock()
	p.do(order)
}

func (p *role) wasTold() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

func (p *role) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.ended, p.err = true, err
		_ = p.out.Close()
		close(p.over)
	}
}

func (p *role) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *role) Pid() int                                     { return 1 }
func (p *role) Stdin() io.WriteCloser                        { return orders{p} }
func (p *role) Stdout() io.Reader                            { return p.stdout }
func (p *role) Stderr() io.Reader                            { return strings.NewReader("complaint") }
func (p *role) Resize(context.Context, uint16, uint16) error { return nil }

// Close hangs the process up.
func (p *role) Close() error {
	if p.kind == "command" && p.stage.ending > 0 {
		time.AfterFunc(p.stage.ending, func() { p.end(nil) })
	} else {
		p.end(nil)
	}
	return nil
}

func (p *role) Wait() error {
	<-p.over
	return p.err
}

func (p *role) Signal(_ context.Context, signal string) error {
	p.tell(signal)
	return nil
}

func kindOfStart(c wsep.Command) string {
	switch {
	case c.Command == "env":
		return "environment"
	case c.Command == "sh" && len(c.Args) > 3 && c.Args[2] == "wsep-keeper":
		return c.Args[3]
	case c.Command == "sh" && c.TTY:
		return "attach"
	}
	return "plain"
}

// keep plays a keeper. Events from the test make it die, or make the command exit.
func keep(p *role) error { return keepWithout(p) }

// keepWithout plays a keeper that ignores some orders.
func keepWithout(p *role, ignored ...string) error {
	p.say("dir /dir")
	p.say("started")
	for {
		e := p.next()
		switch {
		case slices.Contains(ignored, e):
		case e == "go":
			p.say("running")
		case strings.HasPrefix(e, "fit "):
			p.say("fitted " + e[len("fit "):])
		case e == "" || e == "clean":
			return nil
		case e == "die":
			return errors.New("killed")
		case e == "quit" || e == "kill":
			p.commandEnds("exit 129")
		case strings.HasPrefix(e, "exit") || e == "gone":
			p.commandEnds(e)
		}
	}
}

// command plays the command of a native session. Events from the test make it exit, or lose it.
func command(p *role) error {
	var code int
	for e := p.next(); e != ""; e = p.next() {
		if e == "gone" {
			return fmt.Errorf("%w, so its exit is unknown", wsep.ErrDisconnected)
		}
		if n, _ := fmt.Sscanf(e, "exit %d", &code); n == 1 && code > 0 {
			return wsep.NewExitError(code, "exit status "+strconv.Itoa(code))
		} else if n == 1 {
			return nil
		}
	}
	return nil
}

// show plays an attaching process.
func show(p *role) error {
	p.say("\x1b[Hshown")
	for e := p.next(); e != "" && e != "TERM" && e != "end"; {
		e = p.next()
	}
	return nil
}

// leave detaches a client. Wait must say so.
func leave(t *testing.T, p wsep.Process) {
	t.Helper()
	require.NoError(t, p.Close())
	require.ErrorContains(t, p.Wait(), "detached")
}

// requireTook checks how much fake time has passed.
func requireTook(t *testing.T, began time.Time, want time.Duration) {
	t.Helper()
	require.Equal(t, want.String(), time.Since(began).String())
}

// orders is a keeper's stdin.
type orders struct{ p *role }

func (o orders) Write(b []byte) (int, error) {
	if o.p.isOver() {
		return 0, io.ErrClosedPipe
	}
	for line := range strings.Lines(string(b)) {
		if order := strings.TrimSuffix(line, "\n"); order != "" && order[0] != '+' { // Lines with variables are not orders.
			o.p.tell(order)
		}
	}
	return len(b), nil
}

func (o orders) Close() error { return nil }
