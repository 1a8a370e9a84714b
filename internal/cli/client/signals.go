package client

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"cdr.dev/wsep"
)

// catchSignals returns a channel with the signals that ask this program to exit. It leaves out signals that the program was
// started to ignore, for example by nohup.
func catchSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 2)
	end := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	signal.Notify(signals, slices.DeleteFunc(end, signal.Ignored)...)
	// SIGPIPE is caught and dropped, so that a write to a closed pipe returns an error.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return signals
}

// relay passes the first signal to the command, if it has started. At the second signal the program leaves the command. relay
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

// pass sends a signal to the command. If it can't be sent, pass closes the command.
func (c *client) pass(p wsep.Process, s os.Signal) {
	err := errors.ErrUnsupported
	if signaler, ok := p.(wsep.Signaler); ok {
		err = signaler.Signal(c.ctx, signalName(s))
	}
	if errors.Is(err, errors.ErrUnsupported) {
		_ = p.Close()
	}
}
