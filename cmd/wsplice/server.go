package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/cli/certificate"
	"cdr.dev/wsep/internal/plain"
	"cdr.dev/wsep/wsplice"
)

// server serves clients from start to shutDown.
type server struct {
	listener net.Listener
	secure   bool
	http     *http.Server
	splice   *wsplice.Server
	profiler *profiler  // nil if there is none
	failed   chan error // gets the error if serving ends before shutDown
}

// Limits of a request before it has become a WebSocket.
const (
	headerTimeout  = 10 * time.Second // for a request's header
	requestTimeout = time.Minute      // for all of a request
	idleTimeout    = time.Minute      // between requests
	maxHeader      = 64 << 10         // bytes of a request's header
)

// httpServer returns a server with limits for requests. They do not apply to a WebSocket.
func httpServer(handler http.Handler, logger slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.Stdlib(context.Background(), logger, slog.LevelWarn),
	}
}

// start starts a server with its profiler.
func start(c config, logger slog.Logger) (*server, error) {
	tlsConfig, err := c.tlsConfig(logger)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen(c.network, c.listen)
	if err != nil {
		return nil, xerrors.Errorf("--listen: %w", plain.Listening(c.listen, err))
	}
	s := &server{listener: listener, secure: tlsConfig != nil, splice: c.server, failed: make(chan error, 1)}
	if c.pprofAddress != "" {
		if s.profiler, err = startProfiler(c.pprofAddress, logger); err != nil {
			_ = listener.Close()
			return nil, err
		}
	}
	s.splice.Logger = logger
	if c.server.Allowed.Empty() {
		logger.Warn(context.Background(), "clients may connect to no remote: give --allowed-hostnames")
	}
	if s.splice.AllowedHosts == nil {
		s.splice.AllowedHosts = hostsAt(listener.Addr())
	}
	s.http = httpServer(s.splice, logger)
	s.http.TLSConfig = tlsConfig
	// Ends when the listener is closed, by shutDown at the latest.
	go s.serve()
	return s, nil
}

// tlsConfig returns nil for a server without TLS.
func (c config) tlsConfig(logger slog.Logger) (*tls.Config, error) {
	if c.tls.Cert == "" {
		return nil, nil
	}
	cert, err := certificate.New(c.tls, logger)
	if err != nil {
		return nil, err
	}
	return cert.ServerConfig(), nil
}

// hostsAt returns the names under which clients may address a server at addr. nil means loopback names.
func hostsAt(addr net.Addr) []string {
	if addr, ok := addr.(*net.TCPAddr); ok && addr.IP.IsLoopback() {
		return nil
	}
	return []string{"*"}
}

func (s *server) serve() {
	serve := s.http.Serve
	if s.secure {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	if err := serve(s.listener); err != http.ErrServerClosed {
		s.failed <- xerrors.Errorf("serve: %w", err)
	}
}

// url returns the server's URL.
func (s *server) url() string {
	scheme := "ws"
	if s.secure {
		scheme = "wss"
	}
	if s.listener.Addr().Network() == "unix" {
		scheme += "+unix"
	}
	return scheme + "://" + s.listener.Addr().String()
}

// shutDown refuses new clients, closes all clients with status 1001, and waits until they are closed, but no longer
// than the timeout.
func (s *server) shutDown(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := errors.Join(s.splice.Shutdown(ctx), s.http.Shutdown(ctx))
	if err != nil {
		err = xerrors.Errorf("shut down: %w", err)
	}
	return errors.Join(err, s.http.Close(), s.profiler.close())
}
