package main

import (
	"context"
	"net"
	"net/http"
	"net/http/pprof"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/plain"
)

// profiler serves the profiles of net/http/pprof on a listener of its own.
type profiler struct{ http *http.Server }

// startProfiler listens on the address. An address without a host means loopback, because profiles contain secrets.
func startProfiler(address string, logger slog.Logger) (*profiler, error) {
	listener, err := net.Listen("tcp", profileAddress(address))
	if err != nil {
		return nil, xerrors.Errorf("--pprof-address: %w", plain.Listening(address, err))
	}
	logger.Info(context.Background(), "profiles", slog.F("url", "http://"+listener.Addr().String()+"/debug/pprof/"))
	p := &profiler{httpServer(profileMux(), logger)}
	// A profile takes as long as its request says.
	p.http.ReadTimeout = 0
	// Ends when the profiler is closed.
	go func() { _ = p.http.Serve(listener) }()
	return p, nil
}

// profileAddress returns the address. If it has no host, it gets that of loopback.
func profileAddress(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

func profileMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// close closes the listener and its connections.
func (p *profiler) close() error {
	if p == nil {
		return nil
	}
	return p.http.Close()
}
