// Package serve runs a wsep.Handler, or what wraps one, on a listener, and ends it so that nothing is left of the commands
// that it ran.
package serve

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// Server serves HTTP requests on a listener from Start to Close.
type Server struct {
	listener net.Listener
	http     *http.Server
	end      context.CancelFunc // ends the context of every request
	sessions *wsep.Server

	// requests counts the requests that are being served. http.Server loses sight of those whose connection is hijacked.
	requests sync.WaitGroup

	failed chan error // how serving ended, if not by Close
}

// Limits on a connection before it is a WebSocket. Then it has none of them.
const (
	headerTimeout  = 10 * time.Second // for a request's header
	requestTimeout = time.Minute      // for all of a request, and its handler: it ends the request's context
	idleTimeout    = time.Minute      // between requests
)

// httpServer returns what serves the handler, with requests that end with the context.
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

// Start serves requests on the listener. It belongs to the Server from then on, as the sessions do that the handler starts.
func Start(listener net.Listener, handler http.Handler, sessions *wsep.Server, logger slog.Logger) *Server {
	ctx, end := context.WithCancel(context.Background())
	s := &Server{listener: listener, end: end, sessions: sessions, failed: make(chan error, 1)}
	s.http = httpServer(ctx, s.counted(handler), logger)
	// Ends when the listener is closed, by Close at the latest.
	go func() {
		if err := s.http.Serve(listener); err != http.ErrServerClosed {
			s.failed <- xerrors.Errorf("serve: %w", err)
		}
	}()
	return s
}

// URL returns where the Server is reached by WebSocket.
func (s *Server) URL() string { return "ws://" + s.listener.Addr().String() }

// PageURL returns where the Server is reached by a browser on this machine.
func (s *Server) PageURL() string {
	addr := s.listener.Addr().String()
	if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsUnspecified() {
		addr = net.JoinHostPort("localhost", port)
	}
	return "http://" + addr + "/"
}

// Failed returns a channel that tells why the Server stopped accepting connections before Close.
func (s *Server) Failed() <-chan error { return s.failed }

// Close ends the context of every request, waits for their handlers to return, and ends the sessions. The error says
// that some handlers did not return in time.
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
		defer s.requests.Done()
		handler.ServeHTTP(w, r)
	})
}
