package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"

	"cdr.dev/wsep/bench/load"
)

// relay runs the command that a request names. The connection then carries the command's stdin and stdout, and nothing else.
type relay struct{}

// started is the response when the command runs.
const started = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: bytes\r\n\r\n"

func (relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	command, err := requested(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		log.Print(err)
		return
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetNoDelay(false) // Full segments, as in C: the rate of downloads is about a tenth higher.
	if err := run(conn.(*net.TCPConn), command); err != nil {
		log.Print(err)
		_ = conn.(*net.TCPConn).SetLinger(0) // The client's read fails.
	}
}

func requested(r *http.Request) (c load.Command, err error) {
	text, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil {
		return c, err
	}
	err = json.Unmarshal([]byte(text), &c)
	return c, err
}

// run runs a command from start to end.
func run(conn *net.TCPConn, c load.Command) error {
	cmd := exec.Command(c.Name, c.Args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	socket, err := conn.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := errors.Join(cmd.Start(), answer(conn)); err != nil {
		return err
	}
	var input sync.WaitGroup
	// Ends when the client has sent everything, at the latest by CloseRead.
	input.Go(func() {
		_ = receive(stdin.(*os.File), socket) // A command need not read everything.
		_ = stdin.Close()
	})
	err = errors.Join(send(socket, stdout.(*os.File)), cmd.Wait(), conn.CloseRead())
	input.Wait()
	return err
}

func answer(conn io.Writer) error {
	_, err := io.WriteString(conn, started)
	return err
}

// room is the size of a pipe and of a splice in bytes: the largest pipe that an unprivileged user may have.
const room = 1 << 20

// send moves all that comes out of a pipe to a socket. The calls of send and receive block their thread, which costs less here
// than the runtime's poller.
func send(socket, pipe *os.File) error {
	to, from := int(socket.Fd()), int(pipe.Fd())
	_, _ = unix.FcntlInt(uintptr(from), unix.F_SETPIPE_SZ, room)
	for {
		if n, err := splice(to, from); n == 0 || err != nil {
			return err
		}
	}
}

// receive moves all that comes out of a socket into a pipe.
func receive(pipe, socket *os.File) error {
	to, from := int(pipe.Fd()), int(socket.Fd())
	_, _ = unix.FcntlInt(uintptr(to), unix.F_SETPIPE_SZ, room)
	readable := []unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}}
	for {
		// A splice locks the pipe while it waits for the socket. The command could not close the pipe then, and so not exit.
		if _, err := unix.Poll(readable, -1); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
		if n, err := splice(to, from); n == 0 || err != nil {
			return err
		}
	}
}

func splice(to, from int) (n int64, err error) {
	for {
		n, err = unix.Splice(from, nil, to, nil, room, unix.SPLICE_F_MOVE)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("splice: %w", err)
		}
	}
}
