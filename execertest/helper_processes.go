package execertest

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"
)

var processActions = map[string]action{
	"outPid": func(*helper, step) error { return write(os.Stdout, strconv.Itoa(os.Getpid())+"\n") },
	"exit": func(_ *helper, s step) error {
		os.Exit(s.number(0))
		return nil
	},
	"exitArg":  func(h *helper, s step) error { return exitWith(h.arg(s, 0)) },
	"exitLine": func(h *helper, _ step) error { return exitWith(h.line) },
	"pause": func(_ *helper, s step) error {
		d, err := time.ParseDuration(s.Words[0])
		time.Sleep(d)
		return err
	},
	"idle": func(*helper, step) error {
		time.Sleep(maxRun)
		return nil
	},
	"onSignal":   trap,
	"stubborn":   (*helper).ignore,
	"kill":       func(h *helper, s step) error { return sendSignal(s.Words[0], h.arg(s, 1)) },
	"killSelf":   func(_ *helper, s step) error { return killOwn(s.Words[0]) },
	"background": func(h *helper, s step) error { return h.child(s.Then) },
	"keepVigil":  func(*helper, step) error { return keepWatch() },
	"watched":    (*helper).watch,
	"family":     (*helper).haveFamily,
	"report":     report,
	"ticking":    func(h *helper, _ step) error { return tick(h.args[1], "", 50*time.Millisecond) },
	"loud":       func(h *helper, _ step) error { return tick(h.args[1], strings.Repeat("0", 10_000), 0) },
}

func exitWith(code string) error {
	n, err := strconv.Atoi(code)
	if err == nil {
		os.Exit(n)
	}
	return err
}

// killOwn sends this process a signal, and waits for its end.
func killOwn(name string) error {
	if err := sendSignal(name, strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	return nil
}

// trap runs the step's program at a signal. That exits.
func trap(h *helper, s step) error {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, signals[s.Words[0]]...)
	// Ends with the process.
	go func() {
		<-caught
		_ = h.run(s.Then)
	}()
	return nil
}

// ignore ignores what asks this process to exit.
func (h *helper) ignore(s step) error {
	h.inherits = append(h.inherits, s)
	signal.Notify(make(chan os.Signal, 1), append(signals["TERM"], signals["HUP"]...)...)
	return nil
}

// child starts a program in a child. It returns when the child runs it.
func (h *helper) child(p program) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		return err
	}
	cmd := exec.Command(self, h.args...)
	cmd.Env = append(os.Environ(), programVariable+"="+string(encoded))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return startChild(cmd)
}

// watch puts this process under a vigil: a connection that ends with the process.
func (h *helper) watch(s step) error {
	h.inherits = append(h.inherits, s)
	conn, err := net.Dial("tcp", h.args[0])
	if err != nil {
		return err
	}
	watches = append(watches, conn)
	_, err = io.ReadFull(conn, make([]byte, 1)) // The vigil knows this process now.
	return err
}

// watches are connections to vigils. They are kept to the process's end.
var watches []net.Conn

// haveFamily has two children that are under the same vigil.
func (h *helper) haveFamily(step) error {
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := ready.Addr().String()
	child := append(h.inherits[:len(h.inherits):len(h.inherits)], step{Action: "report", Words: []string{address}}, idle)
	for range 2 {
		if err := h.child(child); err != nil {
			return err
		}
	}
	for range 2 {
		conn, err := ready.Accept()
		if err != nil {
			return err
		}
		_ = conn.Close()
	}
	_ = ready.Close()
	if err := write(os.Stdout, "ready\n"); err != nil {
		return err
	}
	time.Sleep(maxRun)
	return nil
}

// report tells a parent that its child runs.
func report(_ *helper, s step) error {
	conn, err := net.Dial("tcp", s.Words[0])
	if err != nil {
		return err
	}
	return conn.Close()
}

// keepWatch is a vigil. Its name is the address where it listens. It ends when all connections have ended.
func keepWatch() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := write(os.Stdout, l.Addr().String()+"\nready\n"); err != nil {
		return err
	}
	var mu sync.Mutex
	open := 0
	ended := func() {
		mu.Lock()
		defer mu.Unlock()
		if open--; open == 0 {
			os.Exit(0)
		}
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		mu.Lock()
		open++
		mu.Unlock()
		// Ends with the connection.
		go func() {
			defer ended()
			_, _ = conn.Write([]byte{1})
			_, _ = conn.Read(make([]byte, 1))
		}()
	}
}

// tick writes ready. Then it appends to a file again and again, and writes the text each time.
func tick(path, text string, pause time.Duration) error {
	if err := write(os.Stdout, "ready\n"); err != nil {
		return err
	}
	for ; ; time.Sleep(pause) {
		if err := write(os.Stdout, text); err != nil {
			return err
		}
		if err := grow(path); err != nil {
			return err
		}
	}
}
