//go:build unix

package client

import (
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalName returns a signal's name without SIG.
func signalName(s os.Signal) string {
	number, _ := s.(syscall.Signal)
	return strings.TrimPrefix(unix.SignalName(number), "SIG")
}

// signalNumber returns the number of the signal with the name, or 0.
func signalNumber(name string) int { return int(unix.SignalNum("SIG" + name)) }

// sizeChanges returns a channel that gets a value when the terminal's size changes.
func sizeChanges() <-chan os.Signal {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	return changes
}
