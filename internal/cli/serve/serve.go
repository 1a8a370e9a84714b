// Package serve serves a wsep.Handler, or a handler around one, on a listener. When it is closed, it ends all commands.
package serve

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// Server serves HTTP requests on a listener from Start to Close.
type Server struct {
	listener net.Listener
	secure   bool // with TLS
	http     *http.Server
	end      context.CancelFunc // ends the context of every request
	sessions *wsep.Server

	running atomic.Int64 // the requests that are being served

	// requests counts the requests that are being served. http.Server does not wait for those that hijacked their connection.
	requests sync.WaitGroup

	failed chan error // why serving ended, if not by Close
}

// Limits on a connection. They end when it becomes a WebSocket.
const (
	headerTimeout  = 10 * time.Second // for a request's header
	requestTimeout = time.Minute      // for all of a request, and its handler: it ends the request's context
	idleTimeout    = time.Minute      // between requests
)

// httpServer returns a server for the handler. The context's end ends the contexts of all requests.
func httpServer(ctx context.Context, handler http.Handler, logger slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.Stdlib(ctx, logger, slog.LevelWarn),
	}
}

// Listener is a listener, and the configuration of its TLS. nil means none.
type Listener struct {
	net.Listener
	TLS *tls.Config
}

// Start serves requests on the listener. The Server owns the listener from then on, and ends sessions when it is closed.
func Start(listener Listener, handler http.Handler, sessions *wsep.Server, logger slog.Logger) *Server {
	ctx, end := context.WithCancel(context.Background())
	s := &Server{
		listener: listener, secure: listener.TLS != nil, end: end, sessions: sessions, failed: make(chan error, 1),
	}
	if s.secure {
		s.listener = tls.NewListener(listener.Listener, listener.TLS)
	}
	s.http = httpServer(ctx, s.counted(handler), logger)
	// Ends when the listener is closed, by Close at the latest.
	go func() {
		if err := s.http.Serve(s.listener); err != http.ErrServerClosed {
			s.failed <- xerrors.Errorf("serve: %w", err)
		}
	}()
	return s
}

// URL returns the Server's address for WebSockets.
func (s *Server) URL() string { return s.scheme("ws") + s.listener.Addr().String() }

// scheme returns the beginning of a URL: the scheme, with an s if there is TLS.
func (s *Server) scheme(name string) string {
	if s.secure {
		name += "s"
	}
	return name + "://"
}

// PageURL returns the Server's address for a browser on this machine.
func (s *Server) PageURL() string {
	addr := s.listener.Addr().String()
	if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsUnspecified() {
		addr = net.JoinHostPort("localhost", port)
	}
	return s.scheme("http") + addr + "/"
}

// Failed returns a channel. It gets the error if the Server stops accepting connections before Close.
func (s *Server) Failed() <-chan error { return s.failed }

// idlePause is how often AwaitIdle looks.
const idlePause = 50 * time.Millisecond

// AwaitIdle waits until there are no sessions and nobody is served, or until the context ends. Connections that wait for another
// command are closed.
func (s *Server) AwaitIdle(ctx context.Context) {
	for s.running.Load() > 0 || s.sessions.SessionCount() > 0 {
		s.sessions.CloseIdleConnections()
		select {
		case <-time.After(idlePause):
		case <-ctx.Done():
			return
		}
	}
}

// Close ends the contexts of all requests, waits until their handlers return, and ends the sessions. It returns an error if
// some handlers do not return in time.
func (s *Server) Close() error {
	s.end()
	err := s.endRequests()
	s.sessions.Close()
	return err
}

// endTimeout bounds how long requests may take to end. A handler has 5 s for its process and 5 s more for closing its
// connection.
const endTimeout = 15 * time.Second

func (s *Server) endRequests() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return xerrors.Errorf("shut down: %w", err)
	}
	return s.awaitRequests(ctx)
}

func (s *Server) awaitRequests(ctx context.Context) error {
	done := make(chan struct{})
	// Ends with the last request.
	go func() {
		defer close(done)
		s.requests.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return xerrors.Errorf("wait for connections to end: %w", ctx.Err())
	}
}

func (s *Server) counted(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.running.Add(1)
		defer s.requests.Done()
		defer s.running.Add(-1)
		handler.ServeHTTP(w, r)
	})
}
