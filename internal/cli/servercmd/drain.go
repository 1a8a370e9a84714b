package servercmd

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/browser/web"
	"cdr.dev/wsep/internal/cli/certificate"
	"cdr.dev/wsep/internal/cli/serve"
	"cdr.dev/wsep/internal/plain"
)

// drainable is an Execer that can be told to start nothing any more.
type drainable struct {
	wsep.Execer
	ending atomic.Bool
}

var errEnding = xerrors.Errorf("the server is ending: %w", wsep.ErrBusy)

// Start implements wsep.Execer.
func (d *drainable) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	if d.ending.Load() {
		return nil, &wsep.StartError{Err: errEnding}
	}
	return d.Execer.Start(ctx, c)
}

// Peers implements wsep.Forwarder, for an Execer that is one. The processes are its own.
func (d *drainable) Peers(ctx context.Context) ([]wsep.Dialer, error) {
	if f, ok := d.Execer.(wsep.Forwarder); ok {
		return f.Peers(ctx)
	}
	return nil, nil
}

// Unwrap lets the Server find what the Execer can do.
func (d *drainable) Unwrap() wsep.Execer { return d.Execer }

// withHealth answers /healthz: with 200 while the server starts commands, with 503 after that. Everybody may ask.
func withHealth(d *drainable, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			next.ServeHTTP(w, r)
			return
		}
		if d.ending.Load() {
			http.Error(w, "ending", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// awaitDrained starts nothing any more, and waits until no command runs, for at most the time of --drain, or until a signal comes.
func (c config) awaitDrained(d *drainable, server *serve.Server) {
	d.ending.Store(true)
	if c.drain == 0 {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.drain)
	defer cancel()
	server.AwaitIdle(ctx)
}

// listener listens on the address of --listen.
func (c config) listener(logger slog.Logger) (serve.Listener, error) {
	l := serve.Listener{}
	if c.tls.Cert != "" {
		cert, err := certificate.New(c.tls, logger)
		if err != nil {
			return l, err
		}
		l.TLS = cert.ServerConfig()
	}
	tcp, err := net.ListenTCP("tcp", c.listen)
	if err != nil {
		return l, xerrors.Errorf("--listen: %w", plain.Listening(c.listen.String(), err))
	}
	l.Listener = tcp
	return l, nil
}

// page returns the files of the web terminal.
func (c config) page() fs.FS {
	if c.embedded {
		return web.Page
	}
	return os.DirFS(c.web)
}
