// Package webterm serves a terminal for the browser: the page that browser/web is built into, what the page asks about the
// server and its sessions, and wsep itself.
package webterm

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"cdr.dev/wsep"
)

// New returns a handler that passes WebSockets of any path to a wsep.Handler, whose Server must be set, and serves the
// web terminal to everybody else. The page may be built, in files, after the handler is made.
//
// The page itself is public. What it asks is admitted as the WebSockets are.
func New(handler *wsep.Handler, files fs.FS) http.Handler {
	t := &terminal{wsep: handler, files: files}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/server", t.admitted(t.server))
	mux.HandleFunc("GET /api/sessions", t.admitted(t.sessions))
	mux.HandleFunc("DELETE /api/sessions", t.admitted(t.closeSession))
	mux.HandleFunc("GET /", t.page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isWebSocket(r) {
			handler.ServeHTTP(w, r)
			return
		}
		secure(w.Header())
		mux.ServeHTTP(w, r)
	})
}

type terminal struct {
	wsep    *wsep.Handler
	files   fs.FS
	machine atomic.Pointer[machine] // nil until it has answered
}

func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// policy lets the page load what this server serves, and nothing else. %s stands for the hashes of the scripts that are in the
// page itself. xterm.js makes style elements.
const policy = "default-src 'none'; script-src 'self'%s; style-src 'self' 'unsafe-inline'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

func setPolicy(h http.Header, hashes string) {
	h.Set("Content-Security-Policy", fmt.Sprintf(policy, hashes))
}

// secure sets the headers that keep other pages from framing, reading or running what is served, and other servers from
// being asked for anything.
func secure(h http.Header) {
	setPolicy(h, "")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
}

// Built reports whether the folder has a built page.
func Built(files fs.FS) bool {
	_, err := fs.Stat(files, "index.html")
	return err == nil
}

// BuildCommand builds the page.
const BuildCommand = "ci/browser.sh --build"

const notBuilt = "The web terminal is not built. Run this in the repository, then reload:\n\n    " + BuildCommand

func (t *terminal) page(w http.ResponseWriter, r *http.Request) {
	if !Built(t.files) {
		http.Error(w, notBuilt, http.StatusServiceUnavailable)
		return
	}
	if r.URL.Path == "/" {
		setPolicy(w.Header(), scriptHashes(t.files))
	}
	serveFile(w, r, t.files)
}

// admitted serves those whom the wsep.Handler would serve.
func (t *terminal) admitted(serve func(w http.ResponseWriter, r *http.Request, owner string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if owner, ok := t.wsep.Admit(w, r); ok {
			serve(w, r, owner)
		}
	}
}

// server tells about the machine on which commands run. It is asked until it has answered once.
func (t *terminal) server(w http.ResponseWriter, r *http.Request, _ string) {
	known := t.machine.Load()
	if known == nil {
		answer, err := askMachine(r.Context(), t.wsep.Execer)
		if err != nil {
			reply(w, http.StatusBadGateway, failure{fmt.Sprintf("The server can't run commands now: %v", err)})
			return
		}
		known = answer
		t.machine.Store(known)
	}
	reply(w, http.StatusOK, known)
}

// failure is what the page is told instead, in a sentence for its user.
type failure struct {
	Error string `json:"error"`
}

// session is what the page is told about a session.
type session struct {
	ID      string   `json:"id"`
	Command string   `json:"command"`
	Args    []string `json:"args"`
	Started int64    `json:"started"` // in milliseconds since 1970
	Clients int      `json:"clients"`
}

func (t *terminal) sessions(w http.ResponseWriter, _ *http.Request, owner string) {
	list := []session{}
	for _, s := range t.owned(owner) {
		list = append(list, session{s.ID, s.Command.Command, s.Command.Args, s.Started.UnixMilli(), s.Clients})
	}
	reply(w, http.StatusOK, list)
}

func (t *terminal) closeSession(w http.ResponseWriter, r *http.Request, owner string) {
	id := r.URL.Query().Get("id")
	if !t.wsep.Server.CloseSession(owner, id, "session was closed in the list of sessions") {
		http.Error(w, "there is no such session", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (t *terminal) owned(owner string) []wsep.SessionInfo {
	return slices.DeleteFunc(t.wsep.Server.Sessions(), func(s wsep.SessionInfo) bool { return s.Owner != owner })
}

// reply answers a request. That the client has gone is no news.
func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
