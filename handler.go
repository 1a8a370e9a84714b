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

// Handler is an http.Handler that serves wsep:
//
//	http.ListenAndServe("127.0.0.1:8080", &wsep.Handler{Execer: wsep.LocalExecer{}})
//
// Whoever reaches it runs commands. Its defaults keep web pages out, also those that point a name of their own at this
// machine; everybody else is Authorize's business, and encryption that of the http.Server, as are its timeouts for what has
// not become a WebSocket.
//
// A Handler ends a connection when the request's context ends: its client is told that the server goes away (1001). Set
// http.Server.BaseContext to a context that ends when the program should.
type Handler struct {
	// Execer starts the commands. It is required.
	Execer Execer
	// Server keeps the sessions. nil means a Server of this Handler's own, which can't be closed.
	Server *Server
	// Options configure the Server. nil means the defaults. Owner is Authorize's if there is one.
	Options *Options
	// AllowedHosts are the names, without port, under which this server may be addressed, as patterns for path.Match.
	// nil means loopback names and addresses. "*" allows every name.
	AllowedHosts []string
	// AllowedOrigins are the origins of the web pages, beside those of this server's own host, that may connect: patterns
	// for path.Match such as "https://*.example.com". A request without Origin comes from no web page and passes.
	AllowedOrigins []string
	// Authorize, if set, decides before the connection is accepted whether the request is served, and for whom: the owner
	// that it returns is the only one who may return to a session. An error refuses the request with status 401, or,
	// if it matches fs.ErrPermission, 403; its text is logged and not sent. See Token.
	Authorize func(r *http.Request) (owner string, err error)

	own Server
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, opts := h.accept(w, r)
	if conn == nil {
		return
	}
	// A connection waits in here for as long as its command runs. The less is on the stack the better.
	err := h.server().serve(r.Context(), conn, h.Execer, opts)
	h.dismiss(r, conn, opts, err)
}

// accept accepts a request's connection, or refuses the request and returns nil.
func (h *Handler) accept(w http.ResponseWriter, r *http.Request) (Conn, *Options) {
	owner, ok := h.Admit(w, r)
	if !ok {
		return nil, nil
	}
	opts := h.Options.withDefaults()
	opts.Owner = owner
	conn, err := wsconn.Accept(w, r, []string{subprotocol})
	if err != nil {
		opts.log().Warn(r.Context(), "refused handshake", slog.F("remote", r.RemoteAddr), slog.Error(err))
		return nil, nil
	}
	return conn, opts
}

// dismiss closes a connection with what its client has to know.
func (h *Handler) dismiss(r *http.Request, conn Conn, opts *Options, err error) {
	if err != nil {
		opts.log().Info(r.Context(), "connection ended", slog.F("remote", r.RemoteAddr), slog.Error(err))
	}
	code, reason := CloseStatus(err)
	_ = conn.Close(code, reason)
}

// Admit makes the checks that ServeHTTP makes, for a program's other endpoints, such as one that lists Server.Sessions. It
// returns on whose behalf the request is made, or it answers the request with a refusal and ok is false.
//
// A browser sends no Origin with a page's plain GET. Such a request passes, and must change nothing.
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

// admit decides whether a request is served. If it is not, status says how to refuse it.
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
