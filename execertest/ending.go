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

// Scripts whose $1 is a vigil's FIFO. They say ready when all of their processes run.
const (
	// groupScript has children that its shell does not end.
	groupScript = `exec 3>"$1"; sleep 60 & (sleep 60; true) & echo ready; wait; sleep 60`
	// stubborn is what goes before it for a group that ends by force only.
	stubborn = `trap "" TERM HUP; `
	// tickingScript tells in a file that it goes on.
	tickingScript = `exec 3>"$1"; echo ready; while :; do echo >>"$1.progress"; sleep 0.05; done`
	// loudScript writes more than anybody reads, and tells in a file how far it has come.
	loudScript = `exec 3>"$1"; echo ready; while :; do head -c 10000 /dev/zero; echo >>"$1.progress"; done`
	// stalledScript waits until one of these comes no further.
	stalledScript = `touch "$1.progress"; last=
		until now=$(wc -c <"$1.progress"); [ "$last" = "$now" ]; do last=$now; sleep 0.5; done`
)

// watched starts a command, one of the above, under a vigil.
func (f *fixture) watched(c wsep.Command) (*process, *vigil) {
	f.Helper()
	v := f.watch()
	c.Args = append(c.Args[:len(c.Args):len(c.Args)], v.fifo)
	p := f.start(c)
	p.awaitReady()
	return p, v
}

// awaitReady reads a line of stdout that says ready, and no more.
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

// closeTrap: Close lets the program tidy up. Its last output and its exit code arrive.
func closeTrap(f *fixture) {
	p := f.start(shell(`trap 'echo bye; echo sorry >&2; exit 5' TERM; echo ready` + idle))
	p.out().await("ready\n")
	p.close()
	require.Equal(f, "ready\nbye\n", p.out().all())
	require.Contains(f, p.errOut().all(), "sorry\n")
	p.requireExit(5)
}

// closeTrapOnTerminal: so it does on a terminal.
func closeTrapOnTerminal(f *fixture) {
	p := f.start(onTerminal(shell(`trap 'echo bye; exit 5' TERM; echo ready` + idle)))
	p.out().await("ready")
	p.close()
	require.Contains(f, p.out().all(), "bye")
	p.requireExit(5)
}

// closeEnds: Close ends the whole process group, by force what ignores signals. The end is no success.
func closeEnds(c wsep.Command) func(*fixture) {
	return func(f *fixture) {
		p, v := f.watched(c)
		p.close()
		require.Error(f, v.requireEnd(p))
	}
}

// loud starts a command that has filled the buffers of its output, and that nobody reads.
func (f *fixture) loud() (*process, *vigil) {
	f.Helper()
	p, v := f.watched(shell(loudScript))
	f.run(shell(stalledScript, v.fifo))
	return p, v
}

// stopped starts a command that has been stopped, and so takes no signals but KILL and CONT.
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

// cancelStopped: so does the end of the context.
func cancelStopped(f *fixture) {
	p, v := f.stopped()
	p.cancel()
	require.Error(f, v.requireEnd(p))
}

// closeUnreadOutput: Close ends a command that waits for a reader of its output. Who reads on gets what is left and the
// end.
func closeUnreadOutput(f *fixture) {
	p, v := f.loud()
	p.close()
	v.requireGone()
	require.Empty(f, strings.Trim(p.out().all(), "\x00"))
	require.Error(f, p.wait())
}

// cancelUnreadOutput: the end of the context ends such a command, and waits for nobody.
func cancelUnreadOutput(f *fixture) {
	p, v := f.loud()
	p.cancel()
	require.Error(f, v.requireEnd(p))
}

// closeFullStdin: Close is heard although stdin is full and nobody reads it.
func closeFullStdin(f *fixture) {
	p, v := f.watched(typed(shell(groupScript)))
	p.fill()
	p.close()
	require.Error(f, v.requireEnd(p))
}

// closeAfterEnd: closing a command that has ended is no error and changes nothing.
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

// cancelFullStdin: so it does although stdin is full and nobody reads it.
func cancelFullStdin(c wsep.Command) func(*fixture) {
	return func(f *fixture) {
		p, v := f.watched(c)
		p.fill()
		p.cancel()
		require.Error(f, v.requireEnd(p))
	}
}

// cancelNeverSuccess: a command that the context ended has not succeeded, even if it exits with code 0.
func cancelNeverSuccess(f *fixture) {
	p := f.start(shell(`trap 'exit 0' TERM; echo ready` + idle))
	p.out().await("ready")
	p.cancel()
	var err error
	f.within(patience, "the end of the process", func() { err = p.Wait() })
	require.Error(f, err)
}

// cancelStreams: with the context end the streams. Reads return what is left, then an error or io.EOF; writes fail.
func cancelStreams(f *fixture) {
	p := f.start(typed(shell(`echo ready; cat`)))
	p.awaitReady()
	out, errOut := p.out(), p.errOut()
	p.stream()
	p.cancel()
	f.within(patience, "the end of the outputs", func() {
		<-out.done
		<-errOut.done
	})
	f.within(patience, "failing of a write to stdin", p.background.Wait)
	require.Error(f, p.wait())
	require.Error(f, p.tryWrite("too late"))
}

// cancelAfterClose: the end of the context forces what Close asked for.
func cancelAfterClose(f *fixture) {
	p, v := f.watched(shell(stubborn + groupScript))
	p.close()
	p.cancel()
	require.Error(f, v.requireEnd(p))
}

// cancelAfterEnd: once Wait has returned, the context's end changes nothing of what it says.
func cancelAfterEnd(f *fixture) {
	for _, code := range []int{0, 5} {
		p := f.start(shell(`exit "$1"`, strconv.Itoa(code)))
		p.requireExit(code)
		p.cancel()
		p.requireExit(code)
	}
}

// cancelBeforeStart: nothing starts with a context that has ended.
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
