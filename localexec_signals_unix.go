//go:build !windows

package wsep

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
)

// Commands start with every signal at its default and none blocked, as under sshd. A child ignores the signals that its
// parent ignores, for example after nohup or in the background of a script. It starts with the default for signals that its
// parent handles (execve(2)). So this process handles its ignored signals while a command starts.

// startCommand starts a command with default signals.
func startCommand(cmd *exec.Cmd) error {
	// A child inherits the signal mask of the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mask := threadMask()
	heeded.begin(mask.blocked())
	defer heeded.end()
	mask.lift()
	defer mask.restore()
	return cmd.Start()
}

// heeding handles signals while commands start. A signal that arrives then has no effect, as if it were ignored.
type heeding struct {
	learn   sync.Once
	dropped chan os.Signal // receives the signals; never read

	mu       sync.Mutex // guards what follows
	starting int        // the number of starts under way
	ignored  map[os.Signal]bool
}

// heeded is shared by all starts of this process: a process has one disposition for each signal.
var heeded = heeding{dropped: make(chan os.Signal, 1), ignored: make(map[os.Signal]bool)}

// maxSignal is the largest number of a signal on any system. Linux has the largest (signal(7)).
const maxSignal = 64

// begin handles the signals that this process ignores and those that the thread blocks, until end is called.
func (h *heeding) begin(blocked []os.Signal) {
	h.learn.Do(learnIgnored)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.starting++
	for n := 1; n <= maxSignal; n++ {
		if sig := syscall.Signal(n); signal.Ignored(sig) {
			h.ignored[sig] = true
			signal.Notify(h.dropped, sig)
		}
	}
	if len(blocked) > 0 { // Notify without signals would mean all signals.
		signal.Notify(h.dropped, blocked...)
	}
}

// end ignores the signals again, unless another command still starts.
func (h *heeding) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.starting--; h.starting > 0 {
		return
	}
	for sig := range h.ignored {
		if !stopIgnores(sig) {
			signal.Ignore(sig)
		}
	}
	signal.Stop(h.dropped)
	for sig := range h.ignored {
		if stopIgnores(sig) && !asked(sig) {
			signal.Ignore(sig) // It is ignored, but signal.Ignored no longer says so.
		}
	}
	clear(h.ignored)
}

// stopIgnores reports whether signal.Stop restores the ignoring of a signal. Then a Notify by the program, made while a
// command starts, keeps its effect.
func stopIgnores(sig os.Signal) bool { return sig == syscall.SIGHUP || sig == syscall.SIGINT }

// asked reports whether the program handles a signal that signal.Stop would have left ignored.
func asked(sig os.Signal) bool {
	ignored, known := systemIgnores()
	return known && !ignored.has(sig)
}

// learnIgnored tells package signal which signals this process was started to ignore. By itself the package checks only
// SIGHUP and SIGINT.
func learnIgnored() {
	ignored, _ := systemIgnores()
	for n := 1; n <= maxSignal; n++ {
		if sig := syscall.Signal(n); ignored.has(sig) && !signal.Ignored(sig) {
			signal.Ignore(sig)
		}
	}
}

// signalSet has bit n-1 set if signal n is in it.
type signalSet uint64

func (s signalSet) has(sig os.Signal) bool {
	n, ok := sig.(syscall.Signal)
	return ok && s>>(n-1)&1 != 0
}
