package wsep

import (
	"errors"
	"io/fs"
	"net/http"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/origin"
	"cdr.dev/wsep/internal/wsconn"
)

// Handler is an [http.Handler] that serves wsep:
//
//	http.ListenAndServe("127.0.0.1:8080", &wsep.Handler{Execer: wsep.LocalExecer{}})
//
// Every client that the Handler accepts runs commands. The defaults keep web pages out, even a page whose own host name
// points at this machine. Authorize keeps out other clients. Encryption, and timeouts for requests that have not become a
// WebSocket, are up to the [http.Server].
//
// When the request's context ends, the Handler closes the connection with close code 1001: the server goes away. Set
// [http.Server.BaseContext] to a context that ends when the program is to exit.
//
// A Handler is safe for concurrent use while nobody changes its fields.
type Handler struct {
	// Execer starts the commands. It is required.
	Execer Execer
	// Server keeps the sessions. nil means a Server of this Handler alone. It can't be closed.
	Server *Server
	// Options configure the Server. nil means the defaults. If Authorize is set, its owner replaces Options.Owner.
	Options *Options
	// AllowedHosts are the names, without port, that a request may address this server by, as patterns for [path.Match]. nil
	// means loopback names and addresses. "*" allows every name.
	AllowedHosts []string
	// AllowedOrigins are further origins of web pages that may connect, as patterns for [path.Match] such as
	// "https://*.example.com". Pages of the host that the request addresses may always connect. A request without Origin
	// comes from no web page and passes.
	AllowedOrigins []string
	// Authorize, if set, decides before the connection is accepted whether the request is served, and for which owner. Only
	// that owner may attach to the sessions that it started. If Authorize returns an error, the request is refused with
	// status 401, or with 403 if the error matches [fs.ErrPermission]. The error's text is logged, never sent. See [Token].
	Authorize func(r *http.Request) (owner string, err error)

	own Server
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, opts := h.accept(w, r)
	if conn == nil {
		return
	}
	// The connection waits in serve while its command runs. A small stack here saves memory.
	err := h.server().serve(r.Context(), conn, h.Execer, opts)
	h.dismiss(r, conn, opts, err)
}

// accept accepts a request's connection. Or it refuses the request and returns nil.
func (h *Handler) accept(w http.ResponseWriter, r *http.Request) (Conn, *Options) {
	owner, ok := h.Admit(w, r)
	if !ok {
		return nil, nil
	}
	opts := h.Options.withDefaults()
	opts.Owner = owner
	w.Header().Set(wsconn.ServerHeader, h.server().mark(owner))
	conn, err := wsconn.Accept(w, r, []string{subprotocol})
	if err != nil {
		opts.log().Warn(r.Context(), "refused handshake", slog.F("remote", r.RemoteAddr), slog.Error(err))
		return nil, nil
	}
	return conn, opts
}

// dismiss closes a connection with the code and the reason for the client.
func (h *Handler) dismiss(r *http.Request, conn Conn, opts *Options, err error) {
	if err != nil {
		opts.log().Info(r.Context(), "connection ended", slog.F("remote", r.RemoteAddr), slog.Error(err))
	}
	code, reason := CloseStatus(err)
	_ = conn.Close(code, reason)
}

// Admit makes the same checks as ServeHTTP. It is for the program's other endpoints, for example one that lists
// [Server.Sessions]. It returns the request's owner. If the checks fail, it answers the request with a refusal, and ok is
// false.
//
// A browser sends no Origin with a page's plain GET. Such a request passes, so it must change nothing.
func (h *Handler) Admit(w http.ResponseWriter, r *http.Request) (owner string, ok bool) {
	opts := h.Options.withDefaults()
	owner, status, err := h.admit(r)
	if err != nil {
		opts.log().Warn(r.Context(), "refused request", slog.F("remote", r.RemoteAddr), slog.Error(err))
		http.Error(w, http.StatusText(status), status)
		return "", false
	}
	if h.Authorize == nil {
		owner = opts.Owner
	}
	return owner, true
}

func (h *Handler) server() *Server {
	if h.Server != nil {
		return h.Server
	}
	return &h.own
}

// admit decides whether a request is served. If it is not, status is the HTTP status of the refusal.
func (h *Handler) admit(r *http.Request) (owner string, status int, err error) {
	if h.Execer == nil {
		return "", http.StatusInternalServerError, errNoExecer
	}
	if err := origin.Check(r, h.AllowedHosts, h.AllowedOrigins); err != nil {
		return "", http.StatusForbidden, err
	}
	if h.Authorize == nil {
		return "", 0, nil
	}
	owner, err = h.Authorize(r)
	switch {
	case err == nil:
		return owner, 0, nil
	case errors.Is(err, fs.ErrPermission):
		return "", http.StatusForbidden, err
	}
	return "", http.StatusUnauthorized, err
}

var errNoExecer = xerrors.New("handler has no execer")
