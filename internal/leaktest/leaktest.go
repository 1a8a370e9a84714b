// Package leaktest checks that tests leave nothing behind: no goroutines, descriptors or processes.
package leaktest

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cdr.dev/wsep/internal/idle"
)

// patience is how long goroutines and processes may take to end after the tests. A close handshake with a peer that
// does not answer takes 5 s, and killing a process 1 s. A busy machine needs more.
const patience = 30 * time.Second

// parallel is how many parallel tests run at once on a machine with fewer cores. They mostly wait for processes.
const parallel = 4

// Main runs a package's tests, for its TestMain, and exits with their code, or with 1 if they leave anything behind or a handler has
// panicked.
func Main(m *testing.M) {
	if runtime.GOMAXPROCS(0) < parallel {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel)) // The command line may set another number.
	}
	heed()
	mark()
	log.SetOutput(panicWatch{os.Stderr})
	before := take()
	code := m.Run()
	idle.ClearAll()
	if left := wait(before, patience); left != "" {
		fmt.Fprintf(os.Stderr, "the tests leave behind:\n%s\n", left)
		code = max(code, 1)
	}
	if panicked.Load() {
		code = max(code, 1)
	}
	os.Exit(code)
}

// heed has the tests' processes not ignore SIGINT and SIGHUP. The tests may have been started to ignore them, by nohup
// or in the background of a shell. A child inherits this, and a shell can't trap an inherited ignored signal.
func heed() {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// snapshot is the resources of a moment. A key belongs to one resource at a time.
type snapshot struct {
	goroutines  map[string]string // ID to stack
	descriptors map[string]string // number and target to the same
	processes   map[string]string // PID to command line
}

func take() snapshot { return snapshot{goroutines(), descriptors(), processes()} }

// wait waits until all new resources are released. After the limit it returns a description of the rest.
func wait(before snapshot, limit time.Duration) (left string) {
	deadline := time.Now().Add(limit)
	for {
		http.DefaultClient.CloseIdleConnections()
		left = take().since(before)
		if left == "" || time.Now().After(deadline) {
			return left
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// since describes the new resources.
func (s snapshot) since(before snapshot) string {
	var b strings.Builder
	describe := func(kind string, now, then map[string]string) {
		var fresh []string
		for id, text := range now {
			if _, old := then[id]; !old {
				fresh = append(fresh, text)
			}
		}
		if len(fresh) > 0 {
			slices.Sort(fresh)
			fmt.Fprintf(&b, "%d %s:\n%s\n", len(fresh), kind, strings.Join(fresh, "\n"))
		}
	}
	describe("goroutines", s.goroutines, before.goroutines)
	describe("descriptors", s.descriptors, before.descriptors)
	describe("processes", s.processes, before.processes)
	return b.String()
}

// goroutines returns all goroutines except the caller's and the lasting ones of the Go runtime.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	found := map[string]string{}
	// The first is the caller.
	for _, stack := range strings.Split(string(buf), "\n\n")[1:] {
		id, _, _ := strings.Cut(stack, " [")
		if !strings.Contains(stack, "os/signal.loop") {
			found[id] = stack
		}
	}
	return found
}
