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

// Options configure how a Server serves a connection. They are read, never written. The zero value of every field is
// its default.
type Options struct {
	// SessionTimeout is how long a session lives on without a client. The default is 5 minutes.
	SessionTimeout time.Duration
	// Logger takes what happens on the connection that its ends are not told. What comes from outside is escaped there, and
	// cut, and what a client can cause at will is logged ten times per connection and then once a minute. nil is silent. It
	// is a pointer so that Options can be compared.
	Logger *slog.Logger
	// KeepAlive is how often the client is pinged, unless it is being heard. A client that is silent for two of these is
	// gone, and its process is ended. The exception is a client of a version without flow control: it stops answering while
	// its user does not read, so its silence counts only if it has been sent nothing since it last answered. The default is
	// 15 seconds; a negative value turns pings off.
	KeepAlive time.Duration
	// WriteTimeout bounds how long one message may take to be sent. A connection on which it takes longer is closed. The
	// default is no bound.
	WriteTimeout time.Duration
	// StartTimeout is how long after connecting a client has for its start message. The default is 10 seconds; a
	// negative value means no bound.
	StartTimeout time.Duration
	// MaxProcesses bounds how many processes the Server runs at a time, over all connections. Above it a start is refused
	// with ErrBusy. 0 means no bound.
	//
	// A process counts until it has ended, also when its connection is gone. A session counts as one until it is done, its
	// first client included. Each further client that looks at it counts as one more, until it has left or its loss has been
	// noticed. A start waits up to five seconds for a session that is closing, and a client that returns to its session for
	// the place that it may have had.
	//
	// It is no bound for connections: one whose command has ended counts no more, though a client that is slow to read, or
	// does not, may keep it.
	MaxProcesses int
	// Owner says who the client is, in terms of the embedding program. Only the owner of a session may return to it. Each
	// owner has session IDs of its own.
	Owner string
}

const (
	defaultSessionTimeout = 5 * time.Minute
	defaultStartTimeout   = 10 * time.Second
)

// withDefaults returns the options with every default in its place. The receiver may be nil.
func (o *Options) withDefaults() *Options {
	opts := new(Options)
	if o != nil {
		*opts = *o
	}
	if opts.SessionTimeout == 0 {
		opts.SessionTimeout = defaultSessionTimeout
	}
	if opts.KeepAlive == 0 {
		opts.KeepAlive = defaultKeepAlive
	}
	if opts.StartTimeout == 0 {
		opts.StartTimeout = defaultStartTimeout
	}
	if opts.Logger == nil {
		opts.Logger = new(slog.Logger)
	}
	return opts
}

// log returns the logger, for what may come from outside. The receiver has its defaults.
func (o *Options) log() slog.Logger { return peerlog.Logger(*o.Logger) }

// Server is the serving end of wsep. It keeps the sessions of its clients. The zero value is ready to use, and a Server
// is safe for concurrent use.
type Server struct {
	mu        sync.Mutex // guards what follows
	processes int
	sessions  map[sessionKey]*registered // one that closes makes room for the next
	all       map[*registered]struct{}   // those that are not done
	vacated   chan struct{}              // closed when a place may be free; nil if nobody waits for that
}

// NewServer returns a Server without sessions.
func NewServer() *Server { return &Server{} }

// defaultServer is where the clients of the package's Serve have their sessions.
var defaultServer Server

// Serve serves a connection with a Server that the whole program shares.
//
// Deprecated: use Server.Serve, whose sessions are its own.
func Serve(ctx context.Context, c *websocket.Conn, execer Execer, options *Options) error {
	return defaultServer.Serve(ctx, c, execer, options)
}

// Serve runs the one command that the client asks for with the execer, which may be a LocalExecer, another wsep
// connection, or any other. It returns when the command has ended and the client, having read how, has closed the
// connection or had some seconds for that, when the connection is lost, or when the context ends.
//
// The command, unless it lives in a session, has ended by then. It has five seconds for that, and a LocalExecer's has its
// KillDelay besides. Serve does not wait for a command that takes longer, nor for one that is still being started, which ends
// when it has been.
//
// The error is nil when the command ran, whatever its exit code, and when the client closed the connection normally.
// Otherwise it says what happened: why the command did not start, what the client did wrong, that the connection was
// lost, or that the context ended.
//
// Serve reads from the connection and leaves it open. The caller must close it when Serve has returned, with the code
// and the reason of CloseStatus, which is how a client of an older version learns why a command did not start. A
// connection that is not closed within some seconds is cut.
func (srv *Server) Serve(ctx context.Context, c *websocket.Conn, execer Execer, options *Options) error {
	return srv.ServeConn(ctx, websocketConn(c), execer, options)
}

// ServeConn is Serve for any Conn.
func (srv *Server) ServeConn(ctx context.Context, conn Conn, execer Execer, options *Options) error {
	return srv.serve(ctx, conn, execer, options.withDefaults())
}

// serve is ServeConn for options that have their defaults.
func (srv *Server) serve(ctx context.Context, conn Conn, execer Execer, opts *Options) error {
	return newServing(srv, conn, execer, opts).run(ctx)
}

// start starts a command for a connection. What it starts counts as a process until release is called. A session, and who
// looks at it, is counted on its own.
func (srv *Server) start(ctx context.Context, execer Execer, c Command, opts *Options) (p Process, release func(), err error) {
	if c.TTY && c.ID != "" {
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

// acquire counts a process, unless there are most already. A session whose command has ended counts until it is done, so
// where there is one acquire waits a moment.
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

// release counts a process no longer.
func (srv *Server) release() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.count(-1)
}

// full reports whether there are as many processes as there may be. The lock is held.
func (srv *Server) full(opts *Options) bool {
	return opts.MaxProcesses > 0 && srv.processes >= opts.MaxProcesses
}

// busy returns why a full server refuses a start. The lock is held.
func (srv *Server) busy() error {
	return xerrors.Errorf("server runs %d processes: %w", srv.processes, ErrBusy)
}

// count counts n processes more, or fewer. The lock is held.
func (srv *Server) count(n int) {
	srv.processes += n
	if n < 0 {
		srv.wake()
	}
}

// wake has those look again that wait for a place. The lock is held.
func (srv *Server) wake() {
	if srv.vacated != nil {
		close(srv.vacated)
		srv.vacated = nil
	}
}

// vacateTimeout is how long a start waits for a place that is about to become free.
const vacateTimeout = 5 * time.Second

// awaitVacated waits until a place may be free, and reports whether that was before ctx ended. The lock is held, but not
// while it waits.
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
