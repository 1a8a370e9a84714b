// Package webterm serves a web terminal: the page that is built from browser/web, the page's request about the server, and wsep
// itself.
package webterm

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"cdr.dev/wsep"
)

// New returns a handler. It passes WebSockets of any path to the wsep.Handler. For other requests it
// serves the web terminal from files. The page may be built after New.
//
// The page itself is public. Its request needs the same admission as WebSockets.
func New(handler *wsep.Handler, files fs.FS) http.Handler {
	t := &terminal{wsep: handler, files: files, since: time.Now()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/server", t.admitted(t.server))
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
	since   time.Time
	machine atomic.Pointer[machine] // nil until it has answered
}

func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// policy lets the page load files of this server only. %s stands for the hashes of the scripts in index.html. Inline styles are
// allowed because xterm.js makes style elements.
const policy = "default-src 'none'; script-src 'self'%s; style-src 'self' 'unsafe-inline'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

func setPolicy(h http.Header, hashes string) {
	h.Set("Content-Security-Policy", fmt.Sprintf(policy, hashes))
}

// secure sets headers, so that no other page can frame, read or run the files, and this page can't load files of other servers.
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

const notBuilt = "The web terminal is not built. Run this in the repository, then reload:\n\n    " + BuildCommand +
	"\n\nA server that runs elsewhere finds it with --web and the folder browser/web/dist of the repository."

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

// admitted serves a request if the wsep.Handler admits it.
func (t *terminal) admitted(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := t.wsep.Admit(w, r); ok {
			serve(w, r)
		}
	}
}

// server describes the machine where commands run. It asks the machine once, or again after a failure.
func (t *terminal) server(w http.ResponseWriter, r *http.Request) {
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
	reply(w, http.StatusOK, about{*known, t.since.UnixMilli(), t.hasScrollback()})
}

// about describes the server to the page.
type about struct {
	machine
	Since      int64 `json:"since"`      // when the server was started, in milliseconds since 1970
	Scrollback bool  `json:"scrollback"` // sessions show again what has scrolled off
}

// hasScrollback reports whether sessions show again what has scrolled off. GNU screen does not.
func (t *terminal) hasScrollback() bool {
	return t.wsep.Options == nil || t.wsep.Options.Sessions != wsep.SessionsScreen
}

// failure is the answer after an error: a sentence for the page's user.
type failure struct {
	Error string `json:"error"`
}

// reply answers a request. It ignores a lost connection.
func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
