package client

import (
	"os"
	"syscall"
)

// signals are those of other systems, by their names without SIG and the numbers that POSIX gives them.
var signals = map[string]syscall.Signal{
	"HUP":  syscall.SIGHUP,
	"INT":  syscall.SIGINT,
	"QUIT": syscall.SIGQUIT,
	"ABRT": syscall.SIGABRT,
	"FPE":  syscall.SIGFPE,
	"KILL": syscall.SIGKILL,
	"SEGV": syscall.SIGSEGV,
	"PIPE": syscall.SIGPIPE,
	"ALRM": syscall.SIGALRM,
	"TERM": syscall.SIGTERM,
}

// signalName returns a signal's name without SIG.
func signalName(s os.Signal) string {
	for name, number := range signals {
		if number == s {
			return name
		}
	}
	return ""
}

// signalNumber returns the number of the signal with the name, or 0.
func signalNumber(name string) int { return int(signals[name]) }

// sizeChanges returns a channel without values: this system has no signal for a change of size.
func sizeChanges() <-chan os.Signal { return nil }
