// Command v024 measures wsep v0.2.4, with the version of nhooyr.io/websocket that it requires.
package main

import (
	"context"
	"log"
	"net/http"

	"cdr.dev/wsep"
	"nhooyr.io/websocket"

	"cdr.dev/wsep/bench/load"
)

func main() {
	load.Program{
		Server:  func() error { return load.Serve(handler{wsep.NewServer()}) },
		Connect: connect,
	}.Main()
}

func connect(url, _ string) (load.Start, error) {
	return func(ctx context.Context, c load.Command) (load.Process, error) {
		// This version of the library compresses by default. That would be measured instead of wsep.
		conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled})
		if err != nil {
			return nil, err
		}
		return wsep.RemoteExecer(conn).Start(ctx, wsep.Command{Command: c.Name, Args: c.Args, Stdin: c.Stdin})
	}, nil
}

type handler struct{ server *wsep.Server }

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		log.Printf("accept: %v", err)
		return
	}
	// The client fails if a command did not succeed.
	_ = h.server.Serve(r.Context(), conn, wsep.LocalExecer{}, nil)
	_ = conn.Close(websocket.StatusNormalClosure, "")
}
