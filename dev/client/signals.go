package main

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"cdr.dev/wsep"
)

// catchSignals returns a channel with the signals that ask this program to end. What it was started to ignore, as under
// nohup, it ignores.
func catchSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 2)
	end := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	signal.Notify(signals, slices.DeleteFunc(end, signal.Ignored)...)
	// Taken and dropped, so that writing to a closed pipe is an error that can be acted on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return signals
}

// relay passes the first signal on to the command, if there is one by then, and leaves the command at the second. It
// ends with the program.
func (c *client) relay(signals <-chan os.Signal, started <-chan wsep.Process) {
	first := <-signals
	last := first
	select {
	case p := <-started:
		// Ends with the command's context.
		c.spawn(func() { c.pass(p, first) })
		last = <-signals
	default:
	}
	number, _ := last.(syscall.Signal)
	c.leave(signalError{number})
}

// pass sends a signal to the command. One that can't be sent asks the command to end.
func (c *client) pass(p wsep.Process, s os.Signal) {
	err := errors.ErrUnsupported
	if signaler, ok := p.(wsep.Signaler); ok {
		err = signaler.Signal(c.ctx, signalName(s))
	}
	if errors.Is(err, errors.ErrUnsupported) {
		_ = p.Close()
	}
}
