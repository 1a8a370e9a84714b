//go:build linux || darwin || freebsd

package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

const defaultIdle = time.Minute

// endSignals end a keeper, and everything in it.
var endSignals = []os.Signal{syscall.SIGTERM, syscall.SIGINT}

// server is a keeper's own.
type server struct {
	dir      dir
	socket   string
	idle     time.Duration
	sessions *wsep.Server
	listener *net.UnixListener

	mu       sync.Mutex // guards what follows
	requests int        // that are served; one of a command lasts until its client can't come back
	opening  int        // connections without a request
	last     time.Time  // when one of these ended
}

// keep is the life of a keeper.
func (s settings) keep() error {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // To ignore it would make the commands ignore it.
	ctx, stop := signal.NotifyContext(context.Background(), endSignals...)
	defer stop()
	k := &server{dir: dir(filepath.Dir(s.Socket)), socket: s.Socket, idle: s.Idle, sessions: wsep.NewServer()}
	k.last = time.Now().Add(askTimeout) // Whoever has started the keeper has time to ask it for something.
	if k.idle == 0 {
		k.idle = defaultIdle
	}
	var err error
	if k.listener, err = listen(s.Socket); err != nil {
		return err
	}
	web := &http.Server{
		Handler:           k.handler(s),
		ReadHeaderTimeout: askTimeout,
		IdleTimeout:       k.idle, // A connection at rest is nothing to keep.
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         k.connState,
	}
	go web.Serve(ownUser{k.listener}) // Ends with the process.
	answer(readyAnswer)
	if k.awaitIdle(ctx) {
		return nil
	}
	_ = os.Remove(k.socket)
	_ = k.listener.Close()
	k.sessions.Close()
	k.awaitRequests()
	return nil
}

// listen makes the socket. The directory's lock is held.
func listen(socket string) (*net.UnixListener, error) {
	if lives, err := listens(context.Background(), socket); lives || err != nil {
		return nil, xerrors.Errorf("%s is in use: %w", socket, errors.Join(err, fs.ErrExist))
	}
	_ = os.Remove(socket) // A keeper that was killed has left it.
	defer unix.Umask(unix.Umask(0o177))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

// ownUser accepts connections of this user's processes only.
type ownUser struct{ *net.UnixListener }

func (l ownUser) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if checkPeer(conn) == nil {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// handler serves commands and sessions.
func (k *server) handler(s settings) http.Handler {
	commands := &wsep.Handler{
		Execer: wsep.LocalExecer{},
		Server: k.sessions,
		Options: &wsep.Options{
			ResumeTimeout:  longestResume,
			SessionTimeout: s.SessionTimeout,
			Sessions:       wsep.SessionsNative,
			KeepAlive:      -1, // The system tells when the other end is gone.
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == countPath {
			_ = json.NewEncoder(w).Encode(k.sessions.ProcessCount()) // That nobody reads it is no error.
			return
		}
		k.add(1)
		defer k.add(-1)
		commands.ServeHTTP(w, r)
	})
}

// countPath is where a keeper says how many processes it has. To ask does not keep the keeper.
const countPath = "/processes"

// longestResume is how long a client may be away. It asks for less, and so does the server before it.
const longestResume = 24 * time.Hour

func (k *server) add(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.requests += n
	k.last = time.Now()
}

func (k *server) connState(_ net.Conn, state http.ConnState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch state {
	case http.StateNew:
		k.opening++
	case http.StateHijacked, http.StateClosed:
		k.opening--
	}
}

// restsUntil returns when the keeper has had nothing to keep for long enough, as far as is known now.
func (k *server) restsUntil() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.requests > 0 || k.opening > 0 || k.sessions.SessionCount() > 0 {
		k.last = time.Now()
	}
	return k.last.Add(k.idle)
}

// awaitIdle waits until the keeper has ended because it has nothing to keep. It returns false if ctx ends before.
func (k *server) awaitIdle(ctx context.Context) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(max(time.Until(k.restsUntil()), minRest)):
		}
		if !k.restsUntil().After(time.Now()) && k.retire(ctx) {
			return true
		}
	}
}

const (
	// minRest is how often a keeper looks at least whether it has something to keep.
	minRest = 50 * time.Millisecond
	// lastConnections is how long a connection may take from the system's queue to the keeper.
	lastConnections = 100 * time.Millisecond
)

// retire ends the keeper unless somebody connects while it takes its socket away. Nobody starts another keeper meanwhile.
func (k *server) retire(ctx context.Context) bool {
	lock, err := k.dir.lock(ctx)
	if err != nil {
		return false
	}
	defer lock.Close()
	away := filepath.Join(string(k.dir), "ending-"+filepath.Base(k.socket))
	if err := os.Rename(k.socket, away); err != nil {
		return true // The directory is gone, or the socket: nobody can connect.
	}
	time.Sleep(lastConnections)
	if k.restsUntil().After(time.Now()) {
		_ = os.Rename(away, k.socket)
		return false
	}
	_ = k.listener.Close()
	_ = os.Remove(away)
	return true
}

// endTimeout bounds how long a keeper that was told to end waits for its commands.
const endTimeout = 20 * time.Second

// awaitRequests waits until all commands have ended. Their contexts have.
func (k *server) awaitRequests() {
	for began := time.Now(); time.Since(began) < endTimeout; time.Sleep(minRest) {
		k.mu.Lock()
		requests := k.requests
		k.mu.Unlock()
		if requests == 0 {
			return
		}
	}
}
