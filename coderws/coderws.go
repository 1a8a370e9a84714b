// Package coderws runs wsep over connections of github.com/coder/websocket. [RemoteExecer] is for a client, [Serve] for
// a server. The functions of the same names in package wsep take connections of nhooyr.io/websocket, its predecessor.
//
// A [wsep.Dialer] and a [wsep.Handler] need none of this, because they use coder/websocket already.
package coderws

import (
	"context"

	"github.com/coder/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/wsconn"
)

// Conn returns c as a connection for [wsep.RemoteExecerConn] and [wsep.Server.ServeConn]. They own its reading side
// from then on.
func Conn(c *websocket.Conn) wsep.Conn { return wsconn.Coder(c) }

// RemoteExecer is [wsep.RemoteExecer] for a connection of coder/websocket. It runs one command, and owns the connection
// from then on.
func RemoteExecer(c *websocket.Conn) wsep.Execer { return wsep.RemoteExecerConn(Conn(c)) }

// Serve is [wsep.Server.Serve] for a connection of coder/websocket. It leaves the connection open. The caller closes it
// with the code and the reason of [wsep.CloseStatus].
//
// The connection should be accepted with compression disabled, which is the default. Data moves faster without
// compression.
func Serve(ctx context.Context, srv *wsep.Server, c *websocket.Conn, execer wsep.Execer, options *wsep.Options) error {
	return srv.ServeConn(ctx, Conn(c), execer, options)
}
