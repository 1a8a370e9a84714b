package load

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"
)

// Program is a program that is measured. Its client and its server are two processes:
//
//	program server
//	program client -url URL [flags] work...
type Program struct {
	// Server serves until stdin ends. It first prints its URL. Only Connect interprets the URL.
	Server func() error
	// Connect returns a function that starts commands at the URL. over names the way to connect, if there are several.
	Connect func(url, over string) (Start, error)
	// Kept is Connect for commands that have connections which earlier ones have left. nil means that there are none.
	Kept func(url string) Start
	// Piece is how many bytes are written at a time. 0 means 64 KiB.
	Piece int
}

// Main is the program's main function.
func (p Program) Main() {
	log.SetFlags(0)
	if err := p.run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func (p Program) run(args []string) error {
	if len(args) == 0 {
		return errors.New("neither server nor client given")
	}
	switch args[0] {
	case "server":
		// Ctrl-C reaches all processes at the terminal. A server ignores it, and exits after its clients, when its stdin ends.
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
		return p.Server()
	case "client":
		return p.client(args[1:])
	}
	return fmt.Errorf("neither server nor client: %s", args[0])
}

// client does the works that its arguments name, and prints a line of JSON for each.
func (p Program) client(args []string) (err error) {
	b := &Bench{Piece: p.Piece}
	if b.Piece == 0 {
		b.Piece = 64 << 10
	}
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	url := flags.String("url", "", "what the server printed")
	over := flags.String("over", "", "the `way` by which to connect")
	size := flags.Int64("size", 512, "how many `MiB` to move")
	flags.IntVar(&b.Trips, "trips", 2000, "how many round trips to make")
	flags.IntVar(&b.Starts, "starts", 40, "how many commands to start in turn")
	flags.IntVar(&b.Many, "many", 64, "how many commands move data at once")
	flags.IntVar(&b.Idle, "idle", 200, "how many commands idle")
	_ = flags.Parse(args) // It exits.
	b.Size = *size << 20
	b.Stats = func(ctx context.Context) (Stats, error) { return fetchStats(ctx, *url) }
	b.CPU = func(ctx context.Context) (time.Duration, error) { return fetchCPU(ctx, *url) }
	if b.Start, err = p.Connect(*url, *over); err != nil {
		return err
	}
	if p.Kept != nil {
		far, err := Far(*url)
		if err != nil {
			return err
		}
		b.Kept, b.KeptFar = p.Kept(*url), p.Kept(far)
	}
	for _, work := range flags.Args() {
		result, err := b.Run(context.Background(), work)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
			return err
		}
	}
	return nil
}

// statsPath is the path of a server's Stats.
const statsPath = "/stats"

// Serve serves an http.Handler on a loopback port, as a Program's Server.
func Serve(h http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc(statsPath, serveStats)
	mux.HandleFunc(cpuPath, serveCPU)
	mux.Handle("/", h)
	failed := make(chan error, 1)
	// Ends with the program.
	go func() { failed <- http.Serve(listener, mux) }()
	select {
	case err := <-failed:
		return err
	case <-StdinEnd():
		return nil
	}
}

// StdinEnd returns a channel that is closed when stdin has ended.
func StdinEnd() <-chan struct{} {
	end := make(chan struct{})
	// Ends with stdin.
	go func() {
		defer close(end)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	return end
}
