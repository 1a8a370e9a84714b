package wsep

import (
	"context"
	"errors"
	"sync"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"
	"nhooyr.io/websocket"

	"cdr.dev/wsep/internal/peerlog"
)

// Options configure how a [Server] serves a connection. The Server reads them and never writes to them. The zero value of
// every field means its default.
type Options struct {
	// SessionTimeout is how long a session lives while no client is attached. Of a command without a terminal it bounds
	// [Command.Keep]. The default is 5 minutes.
	SessionTimeout time.Duration
	// Sessions says what keeps sessions. The default is [SessionsAuto].
	Sessions SessionKind
	// Scrollback is how many lines that have scrolled off a session keeps for its clients: see [Command.Scrollback]. The
	// default is 10,000; a negative value means none. 10,000 lines of 80 characters take about 1.5 MiB. GNU screen keeps none.
	Scrollback int
	// KeepOutput is how many bytes of each output of a command without a terminal are kept for later clients: see
	// [Command.Keep]. They are kept in memory. The default is 4 MiB; a negative value means none.
	KeepOutput int
	// Logger logs what neither end of the connection is told. Text from outside is escaped and cut. Entries that a client
	// can cause at will are logged ten times per connection, and then once a minute. nil logs nothing. Logger is a pointer
	// so that Options can be compared.
	Logger *slog.Logger
	// KeepAlive is how often a silent client is pinged. The default is 15 seconds; a negative value turns pings off. The
	// connection of a client that is silent for two intervals is lost, and its process is ended. A client of a version
	// without flow control stops answering while its user does not read. Its silence counts only if nothing has been sent to
	// it since its last answer.
	KeepAlive time.Duration
	// WriteTimeout bounds how long sending one message may take. If it takes longer, the connection is closed. The default
	// is no bound.
	WriteTimeout time.Duration
	// StartTimeout is how long after connecting a client has to send its start message. The default is 10 seconds; a
	// negative value means no bound.
	StartTimeout time.Duration
	// MaxProcesses bounds how many processes the Server runs at a time, over all connections. A start above the bound fails
	// with [ErrBusy]. 0 means no bound.
	//
	// A process counts until it has exited, even if its connection is lost earlier. A session counts as one process until it
	// is done. Its first client is included; each further client counts as one more until it has detached or its loss has
	// been noticed. A start waits up to five seconds for the place of a session that is closing. A client that attaches
	// again waits as long for the place of its former connection.
	//
	// A process that the Server forwards (see [Forwarder]) counts while its client is connected. A client that resumes it is not
	// refused.
	//
	// MaxProcesses does not bound connections. When a command has exited its connection no longer counts, but a client that
	// reads slowly, or never, can keep it open.
	MaxProcesses int
	// ResumeTimeout is how long a process at most waits for its client when the connection is lost. A client may ask for
	// less. The process goes on until its output fills the client's windows, and it counts in MaxProcesses. When the time is
	// over the process is ended as by Close. The default is one minute; a negative value means that no process waits.
	ResumeTimeout time.Duration
	// MaxDetached bounds the promises of ResumeTimeout: while so many processes of the Server wait for their clients, new
	// processes are started without the promise. Each process that waits may hold up to 6 MiB of unread streams. The default
	// is 1,000; a negative value means no bound.
	MaxDetached int
	// MaxLife is how long a connection may take up conversations: see [Dialer.MaxIdle]. A connection was authorized once, when it
	// was made. So this bounds how long a client can start commands after it has lost the right to. What runs then goes on. The
	// default is 5 minutes; a negative value means that each connection carries one conversation.
	MaxLife time.Duration
	// Owner names the client in the embedding program's terms. Only the owner of a session can attach to it. Each owner has
	// session IDs of its own. Only the owner can take up a process whose connection is lost.
	Owner string
}

const (
	defaultSessionTimeout = 5 * time.Minute
	defaultScrollback     = 10_000
	defaultKeepOutput     = 4 << 20
	defaultStartTimeout   = 10 * time.Second
	defaultResumeTimeout  = time.Minute
	defaultMaxDetached    = 1000
	defaultMaxLife        = 5 * time.Minute
)

// withDefaults returns a copy of the options in which each zero value is replaced by its default. The receiver may be nil.
func (o *Options) withDefaults() *Options {
	opts := new(Options)
	if o != nil {
		*opts = *o
	}
	if opts.SessionTimeout == 0 {
		opts.SessionTimeout = defaultSessionTimeout
	}
	if opts.Scrollback == 0 {
		opts.Scrollback = defaultScrollback
	}
	if opts.KeepOutput == 0 {
		opts.KeepOutput = defaultKeepOutput
	}
	if opts.KeepAlive == 0 {
		opts.KeepAlive = defaultKeepAlive
	}
	if opts.StartTimeout == 0 {
		opts.StartTimeout = defaultStartTimeout
	}
	if opts.ResumeTimeout == 0 {
		opts.ResumeTimeout = defaultResumeTimeout
	}
	if opts.MaxLife == 0 {
		opts.MaxLife = defaultMaxLife
	}
	if opts.MaxDetached == 0 {
		opts.MaxDetached = defaultMaxDetached
	}
	if opts.Logger == nil {
		opts.Logger = new(slog.Logger)
	}
	return opts
}

// log returns the logger for entries that may contain text from outside. The receiver has its defaults.
func (o *Options) log() slog.Logger { return peerlog.Logger(*o.Logger) }

// Server is the serving end of wsep. It keeps the sessions of its clients. The zero value is ready to use. A Server is safe
// for concurrent use.
type Server struct {
	mu        sync.Mutex // guards what follows
	processes int
	sessions  map[sessionKey]*registered // the latest of each key; earlier ones are closing
	all       map[*registered]struct{}   // those that are not done
	vacated   chan struct{}              // closed when a place may be free; nil if no start waits
	ended     endedSessions
	resting   map[chan struct{}]struct{} // connections that wait for another command; closed to end that
	conversations
}

// NewServer returns a Server without sessions.
func NewServer() *Server {
	return &Server{}
}

// defaultServer keeps the sessions of the package's Serve.
var defaultServer = NewServer()

// Serve serves a connection with a [Server] that the whole program shares.
//
// Deprecated: use [Server.Serve]. Each Server has sessions of its own.
func Serve(ctx context.Context, c *websocket.Conn, execer Execer, options *Options) error {
	return defaultServer.Serve(ctx, c, execer, options)
}

// Serve serves one connection: it starts the command that the client asks for. The execer may be a [LocalExecer], a [Dialer]
// to the next server, or any other. Serve returns in one of three cases:
//
//   - The command has exited, and the client has read its exit and closed the connection, or had some seconds for that.
//   - The connection is lost, and the client has not come back within the time that it was granted: see
//     [Options.ResumeTimeout]. If it does come back, over another connection, this Serve returns, and the Serve of that
//     connection goes on.
//   - The context has ended.
//
// If the execer is a [Dialer] or another [Forwarder], and both the client and the next server can resume, Serve forwards the
// conversation. It then returns as soon as one of the two connections is lost, and the next server waits for the client. The end
// of the context does not end the command either: a client that comes back, to this Server or another one in its place, goes on.
//
// When Serve returns, the command has exited, unless it runs in a session, the client has come back, or it was forwarded. If the connection is
// lost or the context ends, Serve waits five seconds for the exit, and with a LocalExecer its KillDelay longer. It does not
// wait for a start that has not returned. Such a command is ended once it has started.
//
// The error is nil if the command ran, whatever its exit code, and if the client closed the connection normally. Otherwise
// it says why the command did not start, how the client broke the protocol, or that the connection was lost or the context
// has ended. Of a lost connection it says that, whatever became of the command later.
//
// Serve leaves the connection open. When Serve has returned, the caller must close the connection with the code and the
// reason of [CloseStatus]. From these a client of an older version learns why its command did not start. If the caller does
// not close the connection, Serve's Server does, without a close frame, after 10 seconds.
func (srv *Server) Serve(ctx context.Context, c *websocket.Conn, execer Execer, options *Options) error {
	return srv.ServeConn(ctx, websocketConn(c), execer, options)
}

// ServeConn is [Server.Serve] for any [Conn].
func (srv *Server) ServeConn(ctx context.Context, conn Conn, execer Execer, options *Options) error {
	return srv.serve(ctx, conn, execer, options.withDefaults())
}

// serve is ServeConn for options with their defaults.
func (srv *Server) serve(ctx context.Context, conn Conn, execer Execer, opts *Options) error {
	return srv.serveAll(ctx, conn, execer, opts)
}

// start starts a command for a connection. The process counts until release is called. A session and its clients are counted
// separately, by recount.
func (srv *Server) start(ctx context.Context, execer Execer, c Command, opts *Options) (p Process, release func(), err error) {
	if c.inSession() {
		if keepsSessions(execer) {
			c.ID = ownedID(opts.Owner, c.ID)
		} else {
			p, err := srv.attachSession(ctx, execer, c, opts)
			if !errors.Is(err, errNoScreen) {
				return p, func() {}, err
			}
			opts.log().Warn(ctx, "session does not survive its connection", slog.F("id", c.ID), slog.Error(err))
			c.ID = ""
		}
	}
	if err := srv.acquire(ctx, opts); err != nil {
		return nil, nil, &StartError{err}
	}
	p, err = execer.Start(ctx, c)
	if err != nil {
		srv.release()
		return nil, nil, err
	}
	return p, sync.OnceFunc(srv.release), nil
}

// acquire counts a process, or fails if the server is full. While a session closes, acquire waits a moment for its place: a
// session counts until it is done.
func (srv *Server) acquire(ctx context.Context, opts *Options) error {
	ctx, cancel := context.WithTimeout(ctx, vacateTimeout)
	defer cancel()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for srv.full(opts) {
		if !srv.anyCloses() || !srv.awaitVacated(ctx) {
			return srv.busy()
		}
	}
	srv.count(1)
	return nil
}

// release stops counting a process.
func (srv *Server) release() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.count(-1)
}

// ProcessCount returns how many processes the Server runs. [Options.MaxProcesses] says what counts.
func (srv *Server) ProcessCount() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.processes
}

// full reports whether the server runs as many processes as it may. The lock is held.
func (srv *Server) full(opts *Options) bool {
	return opts.MaxProcesses > 0 && srv.processes >= opts.MaxProcesses
}

// busy returns why a full server refuses a start. The lock is held.
func (srv *Server) busy() error {
	return xerrors.Errorf("server runs %d processes: %w", srv.processes, ErrBusy)
}

// count adds n, which may be negative, to the processes that count. The lock is held.
func (srv *Server) count(n int) {
	srv.processes += n
	if n < 0 {
		srv.wake()
	}
}

// wake makes the starts that wait for a place look again. The lock is held.
func (srv *Server) wake() {
	if srv.vacated != nil {
		close(srv.vacated)
		srv.vacated = nil
	}
}

// vacateTimeout is how long a start waits for a place that may soon be free.
const vacateTimeout = 5 * time.Second

// awaitVacated waits until a place may be free. It returns false if ctx ends first. The lock is held on entry and on return,
// but not during the wait.
func (srv *Server) awaitVacated(ctx context.Context) bool {
	if srv.vacated == nil {
		srv.vacated = make(chan struct{})
	}
	vacated := srv.vacated
	srv.mu.Unlock()
	defer srv.mu.Lock()
	select {
	case <-vacated:
		return true
	case <-ctx.Done():
		return false
	}
}
