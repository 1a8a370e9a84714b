package wsep_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"time"

	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
	"cdr.dev/wsep/sshexec"
)

// A server that runs commands for every program of this machine, but not for web pages.
func ExampleHandler() {
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", &wsep.Handler{Execer: wsep.LocalExecer{}}))
}

// The same with your own http.Handler.
func ExampleServer_Serve() {
	server := wsep.NewServer()
	defer server.Close()

	http.HandleFunc("/exec", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		err = server.Serve(r.Context(), conn, wsep.LocalExecer{}, nil)
		code, reason := wsep.CloseStatus(err)
		conn.Close(websocket.StatusCode(code), reason)
	})
}

// The output of a command at a server.
func ExampleOutput() {
	srv := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}})
	defer srv.Close()

	execer := wsep.Dialer{URL: srv.URL}
	out, err := wsep.Output(context.Background(), execer, wsep.Command{Command: "echo", Args: []string{"hello"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(out))

	// Output: hello
}

// A command with all of its streams.
func ExampleRun() {
	input := strings.NewReader("pear\napple\n")
	c := wsep.Command{Command: "sh", Args: []string{"-c", "sort; exit 7"}}
	err := wsep.Run(context.Background(), wsep.LocalExecer{}, c, input, os.Stdout, os.Stderr)

	var exit wsep.ExitError
	if errors.As(err, &exit) {
		fmt.Println("exit code", exit.ExitCode())
	}

	// Output:
	// apple
	// pear
	// exit code 7
}

// A command that outlives the client that has started it.
func ExampleCommand() {
	server := wsep.NewServer()
	defer server.Close()
	srv := httptest.NewServer(&wsep.Handler{Server: server, Execer: wsep.LocalExecer{}})
	defer srv.Close()
	execer := wsep.Dialer{URL: srv.URL}

	ctx, cancel := context.WithCancel(context.Background())
	_, err := execer.Start(ctx, wsep.Command{
		ID: "build", Keep: time.Hour, Command: "sh", Args: []string{"-c", "echo compiling; sleep 0.1; echo done"},
	})
	if err != nil {
		log.Fatal(err)
	}
	cancel() // The client is gone.

	out, err := wsep.Output(context.Background(), execer, wsep.Command{ID: "build"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(out))

	// Output:
	// compiling
	// done
}

// A client runs a command, writes its input, reads its output and gets its exit.
func ExampleDialer() {
	srv := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}})
	defer srv.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	execer := wsep.Dialer{URL: srv.URL}
	process, err := execer.Start(ctx, wsep.Command{
		Command: "sh",
		Args:    []string{"-c", "sort; exit 7"},
		Stdin:   true,
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer process.Stdin().Close()
		io.WriteString(process.Stdin(), "pear\napple\n")
	}()
	out, err := io.ReadAll(process.Stdout())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(out))

	var exit wsep.ExitError
	if err := process.Wait(); errors.As(err, &exit) {
		fmt.Println("exit code", exit.ExitCode())
	}

	_, err = execer.Start(ctx, wsep.Command{Command: "no-such-program"})
	fmt.Println("not found:", errors.Is(err, exec.ErrNotFound))

	// Output:
	// apple
	// pear
	// exit code 7
	// not found: true
}

// A connection that already exists runs one command.
func ExampleRemoteExecer() {
	srv := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}})
	defer srv.Close()

	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, srv.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	process, err := wsep.RemoteExecer(conn).Start(ctx, wsep.Command{Command: "echo", Args: []string{"hello"}})
	if err != nil {
		log.Fatal(err)
	}
	out, err := io.ReadAll(process.Stdout())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(out))
	fmt.Println(process.Wait())

	// Output:
	// hello
	// <nil>
}

// A gateway passes commands on: its Execer is a Dialer to the next server.
func ExampleDialer_chain() {
	inner := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}})
	defer inner.Close()
	gateway := httptest.NewServer(&wsep.Handler{Execer: wsep.Dialer{URL: inner.URL}})
	defer gateway.Close()

	process, err := wsep.Dialer{URL: gateway.URL}.Start(context.Background(), wsep.Command{
		Command: "sh", Args: []string{"-c", "kill -TERM $$"},
	})
	if err != nil {
		log.Fatal(err)
	}
	// The exit passes through both servers.
	var exit wsep.ExitError
	if errors.As(process.Wait(), &exit) {
		fmt.Println(strings.ToLower(exit.Error()), exit.Signal())
	}

	// Output:
	// signal: terminated TERM
}

// One function works with every Execer.
func ExampleExecer_interchange() {
	sorted := func(execer wsep.Execer, words ...string) (string, error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		process, err := execer.Start(ctx, wsep.Command{Command: "sort", Stdin: true})
		if err != nil {
			return "", err
		}
		go func() {
			defer process.Stdin().Close()
			io.WriteString(process.Stdin(), strings.Join(words, "\n")+"\n")
		}()
		out, err := io.ReadAll(process.Stdout())
		if err != nil {
			return "", err
		}
		return strings.Join(strings.Fields(string(out)), " "), process.Wait()
	}

	server := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}})
	defer server.Close()

	// A program would call ssh.Dial here.
	host, end, err := sshtest.Connect(sshtest.Session{}.Open)
	if err != nil {
		log.Fatal(err)
	}
	defer end()
	gateway := httptest.NewServer(&wsep.Handler{Execer: sshexec.New(host)})
	defer gateway.Close()

	for _, execer := range []wsep.Execer{
		wsep.LocalExecer{},            // on this machine
		wsep.Dialer{URL: server.URL},  // over a WebSocket
		sshexec.New(host),             // over SSH
		wsep.Dialer{URL: gateway.URL}, // over a WebSocket and then SSH
	} {
		fmt.Println(sorted(execer, "pear", "fig", "apple"))
	}

	// Output:
	// apple fig pear <nil>
	// apple fig pear <nil>
	// apple fig pear <nil>
	// apple fig pear <nil>
}
