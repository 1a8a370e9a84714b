// Command server is a server of wsep v0.2.4. It listens on a loopback port, prints its URL, and runs until its stdin
// ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"cdr.dev/wsep"
	"nhooyr.io/websocket"
)

func main() {
	waitError := flag.String("wait-error", "", "what Wait returns for every process, an error that is no exit code")
	flag.Parse()

	var execer wsep.Execer = wsep.LocalExecer{}
	if *waitError != "" {
		execer = brokenExecer{errors.New(*waitError)}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatalf("listen: %v", err)
	}
	fmt.Printf("ws://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, handler{execer, wsep.NewServer()}))
}

type handler struct {
	execer wsep.Execer
	server *wsep.Server
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		log.Printf("accept: %v", err)
		return
	}
	err = h.server.Serve(r.Context(), conn, h.execer, nil)
	if err != nil {
		_ = conn.Close(websocket.StatusInternalError, closeReason(err))
		return
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
}

// closeReason returns the error's text, cut to the size of a close frame.
func closeReason(err error) string {
	const room = 123
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), room)], "")
}

// brokenExecer runs processes, and hides how they exited.
type brokenExecer struct{ waitErr error }

func (e brokenExecer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p, err := wsep.LocalExecer{}.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	return brokenProcess{p, e.waitErr}, nil
}

type brokenProcess struct {
	wsep.Process
	waitErr error
}

func (p brokenProcess) Wait() error {
	_ = p.Process.Wait()
	return p.waitErr
}
