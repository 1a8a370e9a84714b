// Package coderws lets programs that use github.com/coder/websocket speak wsep over its connections. The functions of
// package wsep take those of nhooyr.io/websocket, its predecessor.
//
// A Dialer and a Handler need none of this: they use coder/websocket already.
package coderws

import (
	"context"

	"github.com/coder/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/wsconn"
)

// Conn returns c as a connection for wsep.RemoteExecerConn and Server.ServeConn, which then own its reading side.
func Conn(c *websocket.Conn) wsep.Conn { return wsconn.Coder(c) }

// RemoteExecer is wsep.RemoteExecer for a connection of coder/websocket. It runs one command, and the connection is its
// own from then on.
func RemoteExecer(c *websocket.Conn) wsep.Execer { return wsep.RemoteExecerConn(Conn(c)) }

// Serve is srv.Serve for a connection of coder/websocket. Like that it leaves the connection open: close it with the code
// and the reason of wsep.CloseStatus.
//
// Accept the connection with compression disabled, its default. Commands move data faster without.
func Serve(ctx context.Context, srv *wsep.Server, c *websocket.Conn, execer wsep.Execer, options *wsep.Options) error {
	return srv.ServeConn(ctx, Conn(c), execer, options)
}
