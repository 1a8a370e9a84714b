package execertest

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

var closeLines = []line{
	{"Trap", closeTrap},
	{"TrapOnTerminal", closeTrapOnTerminal},
	{"Group", closeEnds(shell(groupScript))},
	{"GroupOnTerminal", closeEnds(onTerminal(shell(groupScript)))},
	{"Stubborn", closeEnds(shell(stubborn + groupScript))},
	{"StubbornOnTerminal", closeEnds(onTerminal(shell(stubborn + groupScript)))},
	{"Stopped", closeStopped},
	{"UnreadOutput", closeUnreadOutput},
	{"FullStdin", closeFullStdin},
	{"AfterEnd", closeAfterEnd},
	{"Twice", closeTwice},
}

var cancelLines = []line{
	{"Group", cancelEnds(shell(groupScript))},
	{"GroupOnTerminal", cancelEnds(onTerminal(shell(groupScript)))},
	{"Stubborn", cancelEnds(shell(stubborn + groupScript))},
	{"StubbornOnTerminal", cancelEnds(onTerminal(shell(stubborn + groupScript)))},
	{"Stopped", cancelStopped},
	{"UnreadOutput", cancelUnreadOutput},
	{"FullStdin", cancelFullStdin(typed(shell(groupScript)))},
	{"FullStdinOnTerminal", cancelFullStdin(onTerminal(shell(`stty -echo; ` + groupScript)))},
	{"FullStdinStubborn", cancelFullStdin(typed(shell(stubborn + groupScript)))},
	{"NeverSuccess", cancelNeverSuccess},
	{"Streams", cancelStreams},
	{"AfterClose", cancelAfterClose},
	{"AfterEnd", cancelAfterEnd},
	{"BeforeStart", cancelBeforeStart},
}

// These scripts take a vigil's FIFO as $1. They print ready when all of their processes run.
const (
	// groupScript has children that its shell does not end.
	groupScript = `exec 3>"$1"; sleep 60 & (sleep 60; true) & echo ready; wait; sleep 60`
	// stubborn comes before groupScript for a group that only SIGKILL ends.
	stubborn = `trap "" TERM HUP; `
	// tickingScript appends to a file as long as it runs.
	tickingScript = `exec 3>"$1"; echo ready; while :; do echo >>"$1.progress"; sleep 0.05; done`
	// loudScript writes endless output, and appends to a file for each part.
	loudScript = `exec 3>"$1"; echo ready; text=$(printf %010000d 0)
		while :; do printf %s "$text"; echo >>"$1.progress"; done`
	// stalledScript waits until the file of one of these scripts does not grow.
	stalledScript = `touch "$1.progress"; last=
		until now=$(wc -c <"$1.progress"); [ "$last" = "$now" ]; do last=$now; sleep 0.5; done`
)

// watched starts one of these scripts under a vigil.
func (f *fixture) watched(c wsep.Command) (*process, *vigil) {
	f.Helper()
	v := f.watch()
	c.Args = append(c.Args[:len(c.Args):len(c.Args)], v.fifo)
	p := f.start(c)
	p.awaitReady()
	return p, v
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
	p := f.start(shell(`trap 'echo bye; echo sorry >&2; exit 5' TERM; echo ready` + idle))
	p.out().await("ready\n")
	p.close()
	require.Equal(f, "ready\nbye\n", p.out().all())
	require.Contains(f, p.errOut().all(), "sorry\n")
	p.requireExit(5)
}

// closeTrapOnTerminal: Close does the same on a terminal.
func closeTrapOnTerminal(f *fixture) {
	p := f.start(onTerminal(shell(`trap 'echo bye; exit 5' TERM; echo ready` + idle)))
	p.out().await("ready")
	p.close()
	require.Contains(f, p.out().all(), "bye")
	p.requireExit(5)
}

// closeEnds: Close ends the whole process group, and kills processes that ignore signals. Wait returns an error.
func closeEnds(c wsep.Command) func(*fixture) {
	return func(f *fixture) {
		p, v := f.watched(c)
		p.close()
		require.Error(f, v.requireEnd(p))
	}
}

// loud starts a command with unread output. It returns when the output's buffers are full.
func (f *fixture) loud() (*process, *vigil) {
	f.Helper()
	p, v := f.watched(shell(loudScript))
	f.run(shell(stalledScript, v.fifo))
	return p, v
}

// stopped starts a command and stops it. It handles no signals but KILL and CONT.
func (f *fixture) stopped() (*process, *vigil) {
	f.Helper()
	p, v := f.watched(shell(tickingScript))
	f.run(shell(`kill -STOP "$1"`, strconv.Itoa(p.Pid())))
	f.run(shell(stalledScript, v.fifo))
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
	p, v := f.watched(typed(shell(groupScript)))
	p.fill()
	p.close()
	require.Error(f, v.requireEnd(p))
}

// closeAfterEnd: closing a command that has exited is no error and changes nothing.
func closeAfterEnd(f *fixture) {
	p := f.start(shell(`echo out; exit 5`))
	p.requireExit(5)
	p.close()
	p.requireExit(5)
}

// closeTwice: closing twice, also at once, is no error.
func closeTwice(f *fixture) {
	p, v := f.watched(shell(groupScript))
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
func cancelEnds(c wsep.Command) func(*fixture) {
	return func(f *fixture) {
		p, v := f.watched(c)
		p.cancel()
		require.Error(f, v.requireEnd(p))
	}
}

// cancelFullStdin: the end of the context ends a command that does not read its full stdin.
func cancelFullStdin(c wsep.Command) func(*fixture) {
	return func(f *fixture) {
		p, v := f.watched(c)
		p.fill()
		p.cancel()
		require.Error(f, v.requireEnd(p))
	}
}

// cancelNeverSuccess: Wait returns an error for a command that its context ended, even if it exits with code 0.
func cancelNeverSuccess(f *fixture) {
	p := f.start(shell(`trap 'exit 0' TERM; echo ready` + idle))
	p.out().await("ready")
	p.cancel()
	var err error
	f.within(patience, "the end of the process", func() { err = p.Wait() })
	require.Error(f, err)
}

// cancelStreams: the streams end with the context. Reads return the rest, then an error or io.EOF. Writes fail.
func cancelStreams(f *fixture) {
	p := f.start(typed(shell(`echo ready; cat`)))
	p.awaitReady()
	out, errOut := p.out(), p.errOut()
	p.stream()
	p.cancel()
	f.within(patience, "the end of the outputs", func() {
		<-out.ended
		<-errOut.ended
	})
	f.within(patience, "failing of a write to stdin", p.background.Wait)
	require.Error(f, p.wait())
	require.Error(f, p.tryWrite("too late"))
}

// cancelAfterClose: the end of the context after Close kills the process group.
func cancelAfterClose(f *fixture) {
	p, v := f.watched(shell(stubborn + groupScript))
	p.close()
	p.cancel()
	require.Error(f, v.requireEnd(p))
}

// cancelAfterEnd: the end of the context does not change the result of Wait after it has returned.
func cancelAfterEnd(f *fixture) {
	for _, code := range []int{0, 5} {
		p := f.start(shell(`exit "$1"`, strconv.Itoa(code)))
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
		f.within(patience, "Start", func() { _, err = f.execer.Start(ctx, shell(`: >"$1/started"`, dir)) })
		require.ErrorIs(f, err, context.Canceled)
	}
	require.Empty(f, f.run(shell(`ls "$1"`, dir)))
}
