// Command ours measures this version of wsep.
package main

import (
	"context"
	"fmt"
	"net/http"

	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/bench/load"
)

func main() {
	load.Program{
		Server:  func() error { return load.Serve(&wsep.Handler{Execer: wsep.LocalExecer{}}) },
		Connect: connect,
		Kept:    func(url string) load.Start { return through(wsep.Dialer{URL: url}) },
	}.Main()
}

// connect returns a function that starts commands: over a connection that the user dialed, with a Dialer that
// keeps no connections, or on this machine.
func connect(url, over string) (load.Start, error) {
	switch over {
	case "user":
		return through(userExecer{url}), nil
	case "own":
		return through(wsep.Dialer{URL: url, MaxIdle: -1}), nil
	case "local":
		return through(wsep.LocalExecer{}), nil
	}
	return nil, fmt.Errorf("neither user, own nor local: %q", over)
}

func through(execer wsep.Execer) load.Start {
	return func(ctx context.Context, c load.Command) (load.Process, error) {
		return execer.Start(ctx, wsep.Command{Command: c.Name, Args: c.Args, Stdin: c.Stdin})
	}
}

// userExecer starts commands in the way of a program that uses only the API of wsep v0.2.4.
type userExecer struct{ url string }

func (e userExecer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	conn, _, err := websocket.Dial(ctx, e.url, &websocket.DialOptions{
		HTTPClient:      http.DefaultClient,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	return wsep.RemoteExecer(conn).Start(ctx, c)
}
