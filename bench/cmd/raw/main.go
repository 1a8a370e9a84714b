// Command raw measures the WebSocket libraries alone, without wsep and without processes: a sink, a source and an echo. The
// messages are as large as those of wsep v0.2.4.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strconv"

	"cdr.dev/wsep/bench/load"
)

// messageSize is the size of a message.
const messageSize = 64_000

func main() {
	load.Program{
		Server:  func() error { return load.Serve(handler()) },
		Connect: connect,
		Piece:   messageSize,
	}.Main()
}

// conn is a connection of one of the libraries.
type conn interface {
	// Reader returns the next message. The error is io.EOF if the peer has closed the connection with 1000.
	Reader(ctx context.Context) (io.Reader, error)
	Write(ctx context.Context, p []byte) error
	Close() error
}

// library is one of the libraries.
type library struct {
	dial   func(ctx context.Context, url string) (conn, error)
	accept func(w http.ResponseWriter, r *http.Request) (conn, error)
}

var libraries = map[string]library{
	"nhooyr": {dialNhooyr, acceptNhooyr},
	"coder":  {dialCoder, acceptCoder},
}

// handler serves /LIBRARY/NAME for each library.
func handler() http.Handler {
	mux := http.NewServeMux()
	for name, lib := range libraries {
		mux.HandleFunc("/"+name+"/sink", lib.serve(sink))
		mux.HandleFunc("/"+name+"/echo", lib.serve(echo))
		mux.HandleFunc("/"+name+"/source", lib.serve(source))
	}
	return mux
}

func (l library) serve(do func(*http.Request, conn) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := l.accept(w, r)
		if err == nil {
			err = errors.Join(do(r, c), c.Close())
		}
		if err != nil {
			log.Printf("%s: %v", r.URL, err)
		}
	}
}

// sink reads messages until an empty one comes.
func sink(r *http.Request, c conn) error {
	return eachMessage(r.Context(), c, func([]byte) error { return nil })
}

// echo sends messages back until an empty one comes.
func echo(r *http.Request, c conn) error {
	return eachMessage(r.Context(), c, func(p []byte) error { return c.Write(r.Context(), p) })
}

func eachMessage(ctx context.Context, c conn, do func([]byte) error) error {
	buf := make([]byte, messageSize+1)
	for {
		r, err := c.Reader(ctx)
		if err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf)
		if err == io.EOF {
			return nil
		}
		if err != io.ErrUnexpectedEOF {
			return fmt.Errorf("read message: %v", err)
		}
		if err := do(buf[:n]); err != nil {
			return err
		}
	}
}

// source sends as many bytes as the request asks for.
func source(r *http.Request, c conn) error {
	left, err := strconv.Atoi(r.FormValue("n"))
	if err != nil {
		return err
	}
	buf := make([]byte, messageSize)
	for left > 0 {
		p := buf[:min(left, len(buf))]
		if err := c.Write(r.Context(), p); err != nil {
			return err
		}
		left -= len(p)
	}
	return nil
}

// connect returns a function that has the server do the work of a command.
func connect(server, over string) (load.Start, error) {
	lib, ok := libraries[over]
	if !ok {
		return nil, fmt.Errorf("no library %q", over)
	}
	return func(ctx context.Context, c load.Command) (load.Process, error) {
		target := server + "/" + over
		switch c.Name {
		case load.Cat.Name:
			target += "/echo"
		case load.Sink.Name:
			target += "/sink"
		case load.Source(0).Name:
			target += "/source?n=" + url.QueryEscape(c.Args[1])
		default:
			return nil, fmt.Errorf("nothing does what %s does", c.Name)
		}
		conn, err := lib.dial(ctx, target)
		if err != nil {
			return nil, err
		}
		return &process{ctx: ctx, conn: conn}, nil
	}, nil
}
