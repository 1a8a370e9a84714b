package execertest

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
)

var closeLines = []line{
	{"Trap", closeTrap},
	{"TrapOnTerminal", closeTrapOnTerminal},
	{"Group", closeEnds(piped, watched, family)},
	{"GroupOnTerminal", closeEnds(onTerminal, watched, family)},
	{"Stubborn", closeEnds(piped, stubborn, watched, family)},
	{"StubbornOnTerminal", closeEnds(onTerminal, stubborn, watched, family)},
	{"Stopped", closeStopped},
	{"UnreadOutput", closeUnreadOutput},
	{"FullStdin", closeFullStdin},
	{"AfterEnd", closeAfterEnd},
	{"Twice", closeTwice},
}

var cancelLines = []line{
	{"Group", cancelEnds(piped, watched, family)},
	{"GroupOnTerminal", cancelEnds(onTerminal, watched, family)},
	{"Stubborn", cancelEnds(piped, stubborn, watched, family)},
	{"StubbornOnTerminal", cancelEnds(onTerminal, stubborn, watched, family)},
	{"Stopped", cancelStopped},
	{"UnreadOutput", cancelUnreadOutput},
	{"FullStdin", cancelFullStdin(typed, watched, family)},
	{"FullStdinOnTerminal", cancelFullStdin(onTerminal, noEcho, watched, family)},
	{"FullStdinStubborn", cancelFullStdin(typed, stubborn, watched, family)},
	{"NeverSuccess", cancelNeverSuccess},
	{"Streams", cancelStreams},
	{"AfterClose", cancelAfterClose},
	{"AfterEnd", cancelAfterEnd},
	{"BeforeStart", cancelBeforeStart},
}

// startWatched starts a program that has a vigil's name as $1 and its file as $2. It returns when the program is ready.
func (f *fixture) startWatched(m mode, p ...step) (*process, *vigil) {
	f.Helper()
	v := f.watch()
	started := f.start(m(f.command(p, v.name, v.file)))
	started.awaitReady()
	return started, v
}

// awaitReady reads one line of stdout. It must be ready.
func (p *process) awaitReady() {
	p.f.Helper()
	var line []byte
	var err error
	p.f.within(patience, "reading that the program is ready", func() {
		buf := make([]byte, 1)
		for err == nil && (len(line) == 0 || line[len(line)-1] != '\n') {
			var n int
			n, err = p.Stdout().Read(buf)
			line = append(line, buf[:n]...)
		}
	})
	require.NoError(p.f, err)
	require.Contains(p.f, string(line), "ready")
}

func (p *process) close() {
	p.f.Helper()
	var err error
	p.f.within(patience, "Close", func() { err = p.Close() })
	require.NoError(p.f, err)
}

// closeTrap: Close runs the program's trap for SIGTERM. Its last output and its exit code arrive.
func closeTrap(f *fixture) {
	p := f.start(f.command(program{onSignal("TERM", out("bye\n"), errOut("sorry\n"), exit(5)), out("ready\n"), idle}))
	p.out().await("ready\n")
	p.close()
	require.Equal(f, "ready\nbye\n", p.out().all())
	require.Contains(f, p.errOut().all(), "sorry\n")
	p.requireExit(5)
}

// closeTrapOnTerminal: Close does the same on a terminal.
func closeTrapOnTerminal(f *fixture) {
	p := f.start(onTerminal(f.command(program{onSignal("TERM", out("bye\n"), exit(5)), out("ready\n"), idle})))
	p.out().await("ready")
	p.close()
	require.Contains(f, p.out().all(), "bye")
	p.requireExit(5)
}

// closeEnds: Close ends the whole process group, and kills processes that ignore signals. Wait returns an error.
func closeEnds(m mode, program ...step) func(*fixture) {
	return func(f *fixture) {
		p, v := f.startWatched(m, program...)
		p.close()
		require.Error(f, v.requireEnd(p))
	}
}

// loud starts a command with unread output. It returns when the output's buffers are full.
func (f *fixture) loud() (*process, *vigil) {
	f.Helper()
	p, v := f.startWatched(piped, watched, loud)
	f.run(f.command(program{awaitStalled}, v.file))
	return p, v
}

// stopped starts a command and stops it. It handles no signals but KILL and CONT.
func (f *fixture) stopped() (*process, *vigil) {
	f.Helper()
	p, v := f.startWatched(piped, watched, ticking)
	f.run(f.command(program{kill("STOP", 1)}, strconv.Itoa(p.Pid())))
	f.run(f.command(program{awaitStalled}, v.file))
	return p, v
}

// closeStopped: Close ends a command that has been stopped.
func closeStopped(f *fixture) {
	p, v := f.stopped()
	p.close()
	require.Error(f, v.requireEnd(p))
}

// cancelStopped: the end of the context ends a command that has been stopped.
func cancelStopped(f *fixture) {
	p, v := f.stopped()
	p.cancel()
	require.Error(f, v.requireEnd(p))
}

// closeUnreadOutput: Close ends a command that waits for a reader of its output. A reader gets the rest and the end.
func closeUnreadOutput(f *fixture) {
	p, v := f.loud()
	p.close()
	v.requireAllExited()
	require.Empty(f, strings.Trim(p.out().all(), "0"))
	require.Error(f, p.wait())
}

// cancelUnreadOutput: the end of the context ends a command with unread output, and does not wait for a reader.
func cancelUnreadOutput(f *fixture) {
	p, v := f.loud()
	p.cancel()
	require.Error(f, v.requireEnd(p))
}

// closeFullStdin: Close ends a command that does not read its full stdin.
func closeFullStdin(f *fixture) {
	p, v := f.startWatched(typed, watched, family)
	p.fill()
	p.close()
	require.Error(f, v.requireEnd(p))
}

// closeAfterEnd: closing a command that has exited is no error and changes nothing.
func closeAfterEnd(f *fixture) {
	p := f.start(f.command(program{out("out\n"), exit(5)}))
	p.requireExit(5)
	p.close()
	p.requireExit(5)
}

// closeTwice: closing twice, also at once, is no error.
func closeTwice(f *fixture) {
	p, v := f.startWatched(piped, watched, family)
	errs := make([]error, 5)
	var closing sync.WaitGroup
	for i := range errs {
		closing.Go(func() { errs[i] = p.Close() })
	}
	f.within(patience, "Close", closing.Wait)
	for _, err := range errs {
		require.NoError(f, err)
	}
	p.close()
	require.Error(f, v.requireEnd(p))
	p.close()
}

// cancelEnds: the end of the context ends the process and its group, as Close does.
func cancelEnds(m mode, program ...step) func(*fixture) {
	return func(f *fixture) {
		p, v := f.startWatched(m, program...)
		p.cancel()
		require.Error(f, v.requireEnd(p))
	}
}

// cancelFullStdin: the end of the context ends a command that does not read its full stdin.
func cancelFullStdin(m mode, program ...step) func(*fixture) {
	return func(f *fixture) {
		p, v := f.startWatched(m, program...)
		p.fill()
		p.cancel()
		require.Error(f, v.requireEnd(p))
	}
}

// cancelNeverSuccess: Wait returns an error for a command that its context ended, even if it exits with code 0.
func cancelNeverSuccess(f *fixture) {
	p := f.start(f.command(program{onSignal("TERM", exit(0)), out("ready\n"), idle}))
	p.out().await("ready")
	p.cancel()
	var err error
	f.within(patience, "the end of the process", func() { err = p.Wait() })
	require.Error(f, err)
}

// cancelStreams: the streams end with the context. Reads return the rest, then an error or io.EOF. Writes fail.
func cancelStreams(f *fixture) {
	p := f.start(typed(f.command(program{out("ready\n"), cat})))
	p.awaitReady()
	stdout, stderr := p.out(), p.errOut()
	p.stream()
	p.cancel()
	f.within(patience, "the end of the outputs", func() {
		<-stdout.ended
		<-stderr.ended
	})
	f.within(patience, "failing of a write to stdin", p.background.Wait)
	require.Error(f, p.wait())
	require.Error(f, p.tryWrite("too late"))
}

// cancelAfterClose: the end of the context after Close kills the process group.
func cancelAfterClose(f *fixture) {
	p, v := f.startWatched(piped, stubborn, watched, family)
	p.close()
	p.cancel()
	require.Error(f, v.requireEnd(p))
}

// cancelAfterEnd: the end of the context does not change the result of Wait after it has returned.
func cancelAfterEnd(f *fixture) {
	for _, code := range []int{0, 5} {
		p := f.start(f.command(program{exitArg(1)}, strconv.Itoa(code)))
		p.requireExit(code)
		p.cancel()
		p.requireExit(code)
	}
}

// cancelBeforeStart: Start fails with a context that has ended.
func cancelBeforeStart(f *fixture) {
	dir := f.tempDir()
	for range repetitions {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		var err error
		f.within(patience, "Start", func() { _, err = f.execer.Start(ctx, f.command(program{touch}, dir+"/started")) })
		require.ErrorIs(f, err, context.Canceled)
	}
	require.Empty(f, f.run(f.command(program{list}, dir)))
}
