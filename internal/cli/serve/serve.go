// Package serve serves a wsep.Handler, or a handler around one, on a listener. When it is closed, it ends all commands.
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

// Start serves requests on the listener. The Server owns the listener from then on, and ends sessions when it is closed.
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

// URL returns the Server's address for WebSockets.
func (s *Server) URL() string { return "ws://" + s.listener.Addr().String() }

// PageURL returns the Server's address for a browser on this machine.
func (s *Server) PageURL() string {
	addr := s.listener.Addr().String()
	if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsUnspecified() {
		addr = net.JoinHostPort("localhost", port)
	}
	return "http://" + addr + "/"
}

// Failed returns a channel. It gets the error if the Server stops accepting connections before Close.
func (s *Server) Failed() <-chan error { return s.failed }

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
		defer s.requests.Done()
		handler.ServeHTTP(w, r)
	})
}
