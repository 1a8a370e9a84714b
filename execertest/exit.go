package execertest

import (
	"bytes"
	"errors"
	"strconv"
	"sync"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

var exitLines = []line{
	{"Code0", exitCode(0)},
	{"Code1", exitCode(1)},
	{"Code5", exitCode(5)},
	{"Code44", exitCode(44)},
	{"Code255", exitCode(255)},
	{"Killed", exitKilled},
	{"SignalName", exitSignalName},
	{"WaitAgain", exitWaitAgain},
	{"WaitConcurrently", exitWaitConcurrently},
	{"WhileStdinStreams", exitWhileStdinStreams},
	{"StdinClosedByProgram", exitStdinClosedByProgram},
}

// exitCode: Wait returns nil for exit code 0, and else an ExitError with the code, a text and no signal.
func exitCode(code int) func(*fixture) {
	return func(f *fixture) {
		for _, tty := range []bool{false, true} {
			c := f.command(program{exitArg(1)}, strconv.Itoa(code))
			c.TTY = tty
			err := f.start(c).wait()
			requireExit(f, err, code)
			if exit, ok := errors.AsType[wsep.ExitError](err); ok {
				require.NotEmpty(f, exit.Error())
				require.Empty(f, exit.Signal())
			}
		}
	}
}

// exitKilled: Wait returns exit code -1 for a command that exited with a signal.
func exitKilled(f *fixture) {
	for _, signal := range []string{"KILL", "TERM", "SEGV"} {
		f.start(f.command(program{killSelf(signal)})).requireExit(-1)
	}
	f.start(onTerminal(f.command(program{killSelf("KILL")}))).requireExit(-1)
}

// exitSignalName: Wait returns the name of the signal with which the command exited.
func exitSignalName(f *fixture) {
	for _, signal := range []string{"KILL", "TERM", "USR1"} {
		var exit wsep.ExitError
		require.ErrorAs(f, f.start(f.command(program{killSelf(signal)})).wait(), &exit)
		require.Equal(f, signal, exit.Signal())
	}
}

// exitWaitAgain: Wait returns the same result every time.
func exitWaitAgain(f *fixture) {
	p := f.start(f.command(program{exit(5)}))
	first := p.wait()
	requireExit(f, first, 5)
	for range 3 {
		require.Equal(f, first, p.wait())
	}
}

// exitWaitConcurrently: concurrent calls of Wait return the same result.
func exitWaitConcurrently(f *fixture) {
	p := f.start(typed(f.command(program{readLine, exit(5)})))
	errs := make([]error, 10)
	var waiting sync.WaitGroup
	for i := range errs {
		waiting.Go(func() { errs[i] = p.Wait() })
	}
	p.write("\n")
	f.within(patience, "ten times Wait", waiting.Wait)
	for _, err := range errs {
		requireExit(f, err, 5)
	}
}

// stream writes to stdin until that fails, in the background.
func (p *process) stream() {
	p.background.Go(func() {
		block := bytes.Repeat([]byte("x"), 32<<10)
		for {
			if _, err := p.Stdin().Write(block); err != nil {
				return
			}
		}
	})
}

// exitWhileStdinStreams: the exit code arrives during a write to stdin, and then the write fails.
func exitWhileStdinStreams(f *fixture) {
	for range repetitions {
		p := f.start(typed(f.command(program{out("out\n"), exit(5)})))
		p.stream()
		p.requireExit(5)
		require.Equal(f, "out\n", p.out().all())
		f.within(patience, "failing of a write to stdin", p.background.Wait)
	}
}

// exitStdinClosedByProgram: the exit code arrives when the program closes its stdin during a write to it.
func exitStdinClosedByProgram(f *fixture) {
	for range repetitions {
		p := f.start(typed(f.command(program{take(100_000), closeIn, out("closed\n"), exit(5)})))
		p.stream()
		require.Equal(f, "closed\n", p.out().all())
		p.requireExit(5)
		f.within(patience, "failing of a write to stdin", p.background.Wait)
	}
}
