//go:build linux || darwin || freebsd

package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// start starts a command in the keeper that has its session, or else in the newest one.
func (e Execer) start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	d, err := openDir(e.Dir)
	if err != nil {
		return nil, &wsep.StartError{Err: err}
	}
	for try := 1; ; try++ {
		socket, err := e.keeperFor(ctx, d, c)
		if err != nil {
			return nil, startError(ctx, err)
		}
		p, err := dialer(socket).Start(ctx, c)
		if !errors.Is(err, errGone) || try == startTries {
			return p, err
		}
	}
}

// startTries bounds how often a keeper is looked for that ends before a command can be started there.
const startTries = 3

// keeperFor returns the socket of the keeper that has a command's session, or else of the one for new commands.
func (e Execer) keeperFor(ctx context.Context, d dir, c wsep.Command) (string, error) {
	if c.ID != "" {
		if socket, err := d.findSession(ctx, c.ID); socket != "" || err != nil {
			return socket, err
		}
	}
	return e.keeper(ctx, d)
}

// startError returns why no keeper could be had.
func startError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &wsep.StartError{Err: err}
}

// peers returns a Dialer for each keeper that lives.
func (e Execer) peers(ctx context.Context) ([]wsep.Dialer, error) {
	d, err := openDir(e.Dir)
	if err != nil {
		return nil, err
	}
	sockets, err := d.sockets(ctx)
	if err != nil {
		return nil, err
	}
	var peers []wsep.Dialer
	for _, s := range sockets {
		peers = append(peers, dialer(s))
	}
	return peers, nil
}

func (e Execer) processCount(ctx context.Context) (all int, err error) {
	d, err := openDir(e.Dir)
	if err != nil {
		return 0, err
	}
	sockets, err := d.sockets(ctx)
	if err != nil {
		return 0, err
	}
	for _, s := range sockets {
		count, err := countAt(ctx, s)
		if err != nil {
			return 0, err
		}
		all += count
	}
	return all, nil
}

// countAt asks a keeper how many processes it has.
func countAt(ctx context.Context, socket string) (count int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, keeperURL+countPath, nil)
	if err != nil {
		return 0, err
	}
	response, err := httpClient(socket).Do(request)
	if errors.Is(err, errGone) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, xerrors.Errorf("a keeper of another version does not count its processes: %w", errors.ErrUnsupported)
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxCount)).Decode(&count)
	return count, err
}

// maxCount bounds a keeper's answer, in bytes.
const maxCount = 64

// keeper returns the socket of the keeper for new commands. It starts one if need be.
func (e Execer) keeper(ctx context.Context, d dir) (string, error) {
	program, err := e.program()
	if err != nil {
		return "", err
	}
	socket := d.socket(program.build)
	if lives, err := listens(ctx, socket); lives || err != nil {
		return socket, err
	}
	lock, err := d.lock(ctx)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if lives, err := listens(ctx, socket); lives || err != nil {
		return socket, err
	}
	if err := program.start(ctx, settings{Socket: socket, Idle: e.Idle, SessionTimeout: e.SessionTimeout}); err != nil {
		return "", xerrors.Errorf("start keeper: %w", err)
	}
	return socket, nil
}

// findSession returns the socket of the keeper that has a session, or "". A keeper that tries to end has no socket for a moment, so
// the only socket may be that of an older keeper.
func (d dir) findSession(ctx context.Context, id string) (string, error) {
	sockets, err := d.sockets(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range sockets {
		sessions, err := dialer(s).Sessions(ctx)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(sessions, func(info wsep.SessionInfo) bool { return info.ID == id }) {
			return s, nil
		}
	}
	return "", nil
}

const (
	// keeperURL has a loopback name, as the keeper's Handler demands. Nothing is looked up.
	keeperURL = "http://localhost"
	// askTimeout bounds the handshake with a keeper.
	askTimeout = 10 * time.Second
)

// dialer returns a Dialer to the keeper at a socket.
func dialer(socket string) wsep.Dialer {
	// A connection at rest would be one more thing to keep, and over a socket a handshake costs little.
	return wsep.Dialer{URL: keeperURL, HTTPClient: httpClient(socket), MaxIdle: -1}
}

func httpClient(socket string) *http.Client {
	return &http.Client{
		Timeout: askTimeout,
		Transport: &http.Transport{
			// A request that is refused leaves no connection behind.
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socket) },
		},
	}
}

// dial connects to a keeper, and makes sure that it belongs to this user.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := connect(ctx, socket)
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
		return nil, &wsep.StartError{Err: errGone} // To try again does not help.
	}
	if err != nil {
		return nil, err
	}
	if err := checkPeer(conn.(*net.UnixConn)); err != nil {
		_ = conn.Close()
		return nil, &wsep.StartError{Err: err}
	}
	return conn, nil
}

// connect connects to a socket. It waits while the keeper has too many new connections, which is EAGAIN.
func connect(ctx context.Context, socket string) (net.Conn, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if !errors.Is(err, unix.EAGAIN) {
			return conn, err
		}
		select {
		case <-time.After(connectPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connectPause is how long to wait for a place in a keeper's queue.
const connectPause = 5 * time.Millisecond

// listens reports whether a keeper listens at a socket. If it can't tell it returns an error.
func listens(ctx context.Context, socket string) (bool, error) {
	conn, err := dial(ctx, socket)
	switch {
	case errors.Is(err, errGone):
		return false, nil
	case err != nil:
		return false, err
	}
	_ = conn.Close()
	return true, nil
}

// checkPeer returns an error if the process at the other end of a connection belongs to another user.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var uid uint32
	var peerErr error
	if err := raw.Control(func(fd uintptr) { uid, peerErr = peerUID(int(fd)) }); err != nil {
		return err
	}
	if peerErr != nil {
		return xerrors.Errorf("peer's user: %w", peerErr)
	}
	if int(uid) != os.Geteuid() {
		return xerrors.Errorf("peer is of user %d: %w", uid, errOtherUser)
	}
	return nil
}

var (
	errOtherUser = errors.New("keeper belongs to another user")
	errGone      = errors.New("keeper is gone")
)
