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

// Commands start with every signal at its default and none blocked, as under sshd. A child ignores what its parent ignores,
// because of nohup or a script's & for example. It starts at the default of what its parent handles (execve(2)), so what
// this process ignores is handled while a command starts.

// startCommand starts a command with default signals.
func startCommand(cmd *exec.Cmd) error {
	// A child blocks what the thread blocks that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mask := threadMask()
	heeded.begin(mask.blocked())
	defer heeded.end()
	mask.lift()
	defer mask.restore()
	return cmd.Start()
}

// heeding handles signals while commands start. One that arrives then does nothing, as when it is ignored.
type heeding struct {
	learn   sync.Once
	dropped chan os.Signal // takes what arrives; nobody reads it

	mu       sync.Mutex // guards what follows
	starting int        // how many commands start
	ignored  map[os.Signal]bool
}

// heeded is shared by all starts of this process, as the dispositions are.
var heeded = heeding{dropped: make(chan os.Signal, 1), ignored: make(map[os.Signal]bool)}

// maxSignal is the largest number that a signal has, on any system: Linux has the most (signal(7)).
const maxSignal = 64

// begin handles what this process ignores, and what the thread blocks, until end is called.
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
	if len(blocked) > 0 { // Notify without signals means all.
		signal.Notify(h.dropped, blocked...)
	}
}

// end restores what was ignored, unless another command still starts.
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
			signal.Ignore(sig) // It is ignored, but signal.Ignored does not say so any more.
		}
	}
	clear(h.ignored)
}

// stopIgnores reports whether a signal that was ignored before signal.Notify is ignored after signal.Stop. A Notify of the
// program's own, while a command starts, then keeps its effect.
func stopIgnores(sig os.Signal) bool { return sig == syscall.SIGHUP || sig == syscall.SIGINT }

// asked reports whether the program handles a signal that signal.Stop would have left ignored.
func asked(sig os.Signal) bool {
	ignored, known := systemIgnores()
	return known && !ignored.has(sig)
}

// learnIgnored tells package signal what this process was started to ignore. By itself it looks at SIGHUP and SIGINT alone.
func learnIgnored() {
	ignored, _ := systemIgnores()
	for n := 1; n <= maxSignal; n++ {
		if sig := syscall.Signal(n); ignored.has(sig) && !signal.Ignored(sig) {
			signal.Ignore(sig)
		}
	}
}

// signalSet has bit n-1 set if it has signal n.
type signalSet uint64

func (s signalSet) has(sig os.Signal) bool {
	n, ok := sig.(syscall.Signal)
	return ok && s>>(n-1)&1 != 0
}
