package wsplice

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"cdr.dev/slog"
	"github.com/gobwas/ws"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/origin"
	"cdr.dev/wsep/internal/peerlog"
)

// Server is an [http.Handler] that serves wsplice: each client opens one WebSocket to it, and through this as many
// WebSockets to remotes as it likes.
//
//	allowed, err := wsplice.ParseAllowlist("example.com")
//	...
//	http.ListenAndServe("127.0.0.1:3000", &wsplice.Server{Allowed: allowed})
//
// Its zero value is safe: it serves requests for loopback names alone, and none from web pages of other origins, and
// dials nothing. A proxy before the Server, or client certificates, can restrict clients further. Encryption is the
// [http.Server]'s job, and so are the timeouts of requests that have not become a WebSocket.
//
// A client's connection is closed when its request's context ends. The fields must not be changed once the Server
// serves. Its methods are safe for concurrent use.
type Server struct {
	// Allowed lists the remotes that the Server may dial for clients. nil allows none. See [ParseAllowlist].
	Allowed *Allowlist
	// AllowedHosts are the names, without port, under which clients may address this server, as patterns for
	// [path.Match]. nil means loopback names and addresses. "*" allows every name.
	AllowedHosts []string
	// AllowedOrigins are the origins of web pages that may connect, beside those of this server's own host. They are
	// patterns for [path.Match] such as "https://*.example.com". A request without Origin does not come from a web
	// page, and is allowed.
	AllowedOrigins []string
	// TLS is the configuration for remotes with wss URLs. nil means the defaults.
	TLS *tls.Config

	// MaxClients is how many clients are served at a time. Others are refused with status 503. 0 means 1024.
	MaxClients int
	// MaxChannels is how many remotes a client may have at a time. 0 means 10,000. There are indexes for 65,535.
	MaxChannels int
	// MaxMessage is the size of the largest message that is passed on, in bytes, both ways. A client or a remote that
	// sends a larger one is closed with 1009. 0 means 5 MiB.
	MaxMessage int64

	// DialTimeout bounds the dialing of a remote, handshake included. A client may ask for less. 0 means 10 s.
	DialTimeout time.Duration
	// WriteTimeout is for how long a client or a remote may take no bytes while some wait for it. Then it is closed. 0
	// means 5 s.
	WriteTimeout time.Duration
	// ReadTimeout is for how long a client or a remote may send nothing within a message. Then it is closed. Between
	// messages there is no limit. 0 means 30 s.
	ReadTimeout time.Duration

	// LegacyCloseMethod has the server report closed remotes as the binaries of version 0.1.0 did: by the method
	// onSocketClosed instead of onSocketDisconnect, and with 1001 instead of 1006 for a lost connection.
	LegacyCloseMethod bool
	// Logger gets a line for each refused or closed client, and for refused connects at a bounded rate. Text of peers
	// is escaped there. The zero value logs nothing.
	Logger slog.Logger

	mu       sync.Mutex // guards what follows
	sessions map[*session]struct{}
	places   int           // taken by sessions and handshakes
	draining bool          // new clients are refused
	empty    chan struct{} // closed when the last session has ended; nil unless draining
}

// options are a Server's fields with the defaults filled in.
type options struct {
	dialer       *dialer
	logger       slog.Logger
	closeMethod  string
	lostCode     ws.StatusCode // for a remote's connection that was lost without a close frame
	maxChannels  int
	maxMessage   int64
	dialTimeout  time.Duration
	writeTimeout time.Duration
	readTimeout  time.Duration
}

const (
	defaultMaxClients   = 1024
	defaultMaxChannels  = 10_000
	defaultMaxMessage   = 5 << 20 // as version 0.1.0 had it
	defaultDialTimeout  = 10 * time.Second
	defaultWriteTimeout = 5 * time.Second
	defaultReadTimeout  = 30 * time.Second
)

func (s *Server) options() *options {
	o := &options{
		logger:       s.log(),
		closeMethod:  methodDisconnect,
		lostCode:     ws.StatusAbnormalClosure,
		maxChannels:  min(orDefault(s.MaxChannels, defaultMaxChannels), controlIndex),
		maxMessage:   orDefault(s.MaxMessage, defaultMaxMessage),
		dialTimeout:  orDefault(s.DialTimeout, defaultDialTimeout),
		writeTimeout: orDefault(s.WriteTimeout, defaultWriteTimeout),
		readTimeout:  orDefault(s.ReadTimeout, defaultReadTimeout),
	}
	if s.LegacyCloseMethod {
		o.closeMethod, o.lostCode = methodClosed, ws.StatusGoingAway
	}
	o.dialer = &dialer{allowed: s.Allowed, tls: s.TLS, timeout: o.dialTimeout}
	return o
}

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// log returns the logger. It escapes text of peers.
func (s *Server) log() slog.Logger { return peerlog.Logger(s.Logger) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, err := s.admit(r)
	if err != nil {
		s.log().Warn(r.Context(), "refused client", slog.F("remote", r.RemoteAddr), slog.Error(err))
		refuse(w, status)
		return
	}
	defer s.leave()
	conn, early, err := upgrade(w, r)
	if err != nil {
		s.log().Warn(r.Context(), "refused handshake", slog.F("remote", r.RemoteAddr), slog.Error(err))
		return
	}
	err = s.serve(r.Context(), newSession(s.options(), conn, early))
	s.log().Info(r.Context(), "client gone", slog.F("remote", r.RemoteAddr), slog.Error(err))
}

// admit takes a place for a request, or returns the status and the error to refuse it with.
func (s *Server) admit(r *http.Request) (status int, err error) {
	if err := origin.Check(r, s.AllowedHosts, s.AllowedOrigins); err != nil {
		return http.StatusForbidden, err
	}
	if !isHandshake(r) {
		return http.StatusBadRequest, errHandshake
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return http.StatusServiceUnavailable, errDraining
	case s.places >= orDefault(s.MaxClients, defaultMaxClients):
		return http.StatusServiceUnavailable, errClients
	}
	s.places++
	return 0, nil
}

var (
	errDraining = xerrors.New("server is shutting down")
	errClients  = xerrors.New("too many clients")
)

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places--; s.places == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// serve runs a session until it ends, at the latest when the context does.
func (s *Server) serve(ctx context.Context, served *session) error {
	s.mu.Lock()
	if s.sessions == nil {
		s.sessions = map[*session]struct{}{}
	}
	s.sessions[served] = struct{}{}
	if s.draining {
		served.end(errShutdown)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, served)
	}()
	defer context.AfterFunc(ctx, func() { served.end(errRequest) })()
	return served.run()
}

// Shutdown ends the Server: it refuses new clients, dials no more remotes, and closes all clients and remotes with
// status 1001. It returns nil when all are closed, which takes about a second. If the context ends before, it returns
// the context's error. The Server can't be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	empty := s.drain()
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain ends all sessions. It returns a channel that is closed when they have ended, or nil if there are none.
func (s *Server) drain() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for served := range s.sessions {
		served.end(errShutdown)
	}
	if s.places > 0 && s.empty == nil {
		s.empty = make(chan struct{})
	}
	return s.empty
}
