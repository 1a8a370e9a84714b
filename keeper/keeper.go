// Package keeper runs commands in a process of its own, so that the server that started them can come and go.
//
//	func main() {
//		keeper.Main()
//		dir := filepath.Join(os.Getenv("HOME"), ".wsep")
//		http.ListenAndServe("127.0.0.1:8080", &wsep.Handler{Execer: keeper.Execer{Dir: dir}})
//	}
//
// A keeper is a wsep server on a Unix socket, and an [Execer] is a client of it. It starts when it is first needed, and ends when
// it has had nothing to keep for a while. A server whose Execer is a keeper's is a gateway: see [wsep.Forwarder]. So it can be
// killed, and started again in another version, and every client's process goes on: pipes, terminals and sessions.
//
// # One keeper for each version
//
// Each build of the keeper's program has a keeper of its own. After an upgrade, new commands go to a new keeper. The old one keeps
// what it has, sessions too, and ends after that.
//
// # What is left
//
// A keeper that ends by itself has nothing left. When it is killed, its clients get an error that matches
// [wsep.ErrDisconnected], and everything that it has started is killed. On Linux that includes processes that have left their
// process group. The keeper's parent, a process that does nothing else, does that. If the parent is killed, the keeper ends its
// commands and exits. On other systems nothing is killed.
//
// A keeper lives on Linux, macOS and FreeBSD. Elsewhere Start fails with an error that matches [errors.ErrUnsupported].
package keeper

import (
	"context"
	"os"
	"time"

	"cdr.dev/wsep"
)

// Execer is a [wsep.Execer] whose commands and sessions live in a keeper. It is safe for concurrent use while nobody changes its
// fields.
//
// Commands inherit the environment of the keeper, which is that of the program that started it. They start in the working
// directory of this program, if the command has none. The keeper runs as the user that started it.
type Execer struct {
	// Dir is the keeper's directory. It holds its socket. It is made if it does not exist. It must belong to the user of this
	// program, with mode 0700: who can reach the socket runs commands. Its path has at most 60 bytes or so, because it is part of a
	// socket's address. It is required.
	Dir string
	// Program is the program that becomes the keeper: one whose main calls [Main] first. Empty means this program, if it has called
	// Main, else wsep-keeper in PATH.
	Program string
	// Idle is how long a keeper without anything to keep lives. The default is one minute. Idle, and SessionTimeout, are those of
	// the Execer that starts the keeper.
	Idle time.Duration
	// SessionTimeout is [wsep.Options.SessionTimeout] of the keeper.
	SessionTimeout time.Duration
}

var _ wsep.Forwarder = Execer{}

// KeepsSessions implements [wsep.SessionKeeper].
func (Execer) KeepsSessions() bool { return true }

// Start implements [wsep.Execer]. It starts a keeper if there is none. If Dir is not safe, or no keeper can be started, the error
// is a [wsep.StartError].
func (e Execer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	if c.WorkingDir == "" {
		c.WorkingDir, _ = os.Getwd() // Else it is the keeper's.
	}
	return e.start(ctx, c)
}

// ProcessCount returns how many processes the keepers have, as [wsep.Server.ProcessCount]. That includes those that wait for their
// client. It starts no keeper.
func (e Execer) ProcessCount(ctx context.Context) (int, error) { return e.processCount(ctx) }

// Peers implements [wsep.Forwarder]. It starts no keeper.
func (e Execer) Peers(ctx context.Context) ([]wsep.Dialer, error) { return e.peers(ctx) }
