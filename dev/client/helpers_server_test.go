//go:build unix

package main

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// server is the server that a script started last.
type server struct {
	cmd    *exec.Cmd
	log    strings.Builder
	exited chan struct{} // closed when the server has been reaped
}

type serverKey struct{}

// cmdServe starts a server. It ends with the script at the latest.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, -1)
	s := &server{exited: make(chan struct{})}
	*ts.Value(serverKey{}).(**server) = s
	program := []string{"server"}
	if len(args) > 0 && args[0] == "-wsep" {
		program, args = []string{"wsep", "serve"}, args[1:]
	}
	s.cmd = command(ts, slices.Concat(program, []string{"--listen", "127.0.0.1:0"}, args))
	s.cmd.Stderr = &s.log
	stdout, err := s.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	stuck := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	stuck.Stop()
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait()
	}()
	ts.Defer(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		stuck.Reset(patience)
		<-s.exited
		stuck.Stop()
		ts.Logf("[server log]\n%s[server ended: %v]", s.log.String(), s.cmd.ProcessState)
	})
	ts.Check(err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		ts.Fatalf("server says %q", line)
	}
	ts.Setenv("URL", url)
	ts.Setenv("PAGE", "http"+strings.TrimPrefix(url, "ws"))
	ts.Setenv("SERVER", strconv.Itoa(s.cmd.Process.Pid))
}

func cmdServerEnded(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, 1)
	s := *ts.Value(serverKey{}).(**server)
	select {
	case <-s.exited:
	case <-time.After(patience):
		ts.Fatalf("the server has not exited")
	}
	ts.Check(os.WriteFile(ts.MkAbs("serverlog"), []byte(s.log.String()), 0o666))
	if code := strconv.Itoa(s.cmd.ProcessState.ExitCode()); code != args[0] {
		ts.Fatalf("the server ended with %v, want exit code %s", s.cmd.ProcessState, args[0])
	}
}

type silentKey struct{}

// cmdSilent starts a server that never answers. It ends with the script.
func cmdSilent(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("URL", "ws://"+listener.Addr().String())
	connections := ts.Value(silentKey{}).(chan struct{})
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 1))
			connections <- struct{}{}
		}
	})
	ts.Defer(func() {
		_ = listener.Close()
		accepting.Wait()
	})
}

func cmdConnected(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 0, 0)
	select {
	case <-ts.Value(silentKey{}).(chan struct{}):
	case <-time.After(patience):
		ts.Fatalf("no client has connected")
	}
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 2, 2)
	pid, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(syscall.Kill(pid, unix.SignalNum("SIG"+args[0])))
}

func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, 1)
	if eventually(func() bool { return !runs(ts, args[0]) }) {
		return
	}
	if pid, err := strconv.Atoi(args[0]); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	ts.Fatalf("process %s still runs after %v", args[0], patience)
}

// runs reports whether a process runs. A zombie does not run.
func runs(ts *testscript.TestScript, pid string) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	if _, none := errors.AsType[*exec.ExitError](err); none {
		return false
	}
	ts.Check(err)
	return !strings.HasPrefix(strings.TrimSpace(string(state)), "Z")
}
