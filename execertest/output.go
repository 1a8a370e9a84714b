package execertest

import (
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

var outputLines = []line{
	{"Apart", outputApart},
	{"AtOnce", outputAtOnce},
	{"EOFStays", outputEOFStays},
	{"Big", outputBig},
	{"LastBytes", outputLastBytes},
	{"ReadAfterWait", outputReadAfterWait},
	{"UnreadStdout", outputUnreadStdout},
	{"UnreadStderr", outputUnreadStderr},
	{"ClosedEarly", outputClosedEarly},
	{"HeldByChild", outputHeldByChild},
}

// outputApart: stdout and stderr are kept apart.
func outputApart(f *fixture) {
	p := f.start(f.command(program{out("out1\n"), errOut("err1\n"), out("out2\n"), errOut("err2\n")}))
	stdout, stderr := p.out(), p.errOut()
	require.Equal(f, "out1\nout2\n", stdout.all())
	require.Equal(f, "err1\nerr2\n", stderr.all())
	p.requireExit(0)
}

// outputAtOnce: output arrives when it is written, not when the program exits.
func outputAtOnce(f *fixture) {
	p := f.start(typed(f.command(program{out("prompt"), errOut("note"), readLine, outLine})))
	p.out().await("prompt")
	p.errOut().await("note")
	p.write("answer\n")
	require.Equal(f, "promptanswer", p.out().all())
	p.requireExit(0)
}

// outputEOFStays: after the last byte every read returns io.EOF.
func outputEOFStays(f *fixture) {
	p := f.start(f.command(program{out("out\n"), errOut("err\n")}))
	require.Equal(f, "out\n", p.out().all())
	require.Equal(f, "err\n", p.errOut().all())
	p.requireExit(0)
	for _, r := range []io.Reader{p.Stdout(), p.Stderr()} {
		for range 3 {
			var n int
			var err error
			f.within(patience, "a read after the end", func() { n, err = r.Read(make([]byte, 1)) })
			require.Zero(f, n)
			require.Equal(f, io.EOF, err)
		}
	}
}

// outputBig: large output arrives whole and unchanged.
func outputBig(f *fixture) {
	big := f.tempDir() + "/big"
	want := f.run(f.command(program{makeBig}, big, strconv.Itoa(bigSize)))
	p := f.start(f.command(program{catFile}, big))
	require.Equal(f, strings.Fields(want)[0], p.digest()())
	p.requireExit(0)
}

// outputLastBytes: output that a program writes before it exits is never lost.
func outputLastBytes(f *fixture) {
	for range repetitions {
		p := f.start(f.command(program{errOut("last words\n"), out("last words\n"), exit(5)}))
		stdout, stderr := p.out(), p.errOut()
		p.requireExit(5)
		require.Equal(f, "last words\n", stdout.all())
		require.Equal(f, "last words\n", stderr.all())
	}
}

// unreadSize is how many bytes of each output fit into the smallest buffer on the way, a pipe's.
const unreadSize = 32 << 10

// outputReadAfterWait: Wait returns although output that fits into the buffers is not read. All of it can be read
// afterwards.
func outputReadAfterWait(f *fixture) {
	text := strings.Repeat("0123456789abcde\n", unreadSize/16)
	p := f.start(f.command(program{outArg(1), errArg(1), exit(5)}, text))
	p.requireExit(5)
	require.Equal(f, text, p.out().all())
	require.Equal(f, text, p.errOut().all())
}

// unread returns a program that writes 48 KiB to one output, then much to the other.
func unread(silent, loud string) program {
	return program{zeros(48<<10, silent), zeros(bigSize, loud), exit(5)}
}

// outputUnreadStdout: unread stdout that fits into the buffers delays neither stderr nor the exit code.
func outputUnreadStdout(f *fixture) {
	p := f.start(f.command(unread("1", "2")))
	require.EqualValues(f, bigSize, p.count("stderr", p.Stderr())(), "bytes")
	p.requireExit(5)
	require.Equal(f, 48<<10, len(p.out().all()), "bytes")
}

// outputUnreadStderr: unread stderr that fits into the buffers delays neither stdout nor the exit code.
func outputUnreadStderr(f *fixture) {
	p := f.start(f.command(unread("2", "1")))
	require.EqualValues(f, bigSize, p.count("stdout", p.Stdout())(), "bytes")
	p.requireExit(5)
	require.Equal(f, 48<<10, len(p.errOut().all()), "bytes")
}

// outputClosedEarly: a program that closes its outputs runs on.
func outputClosedEarly(f *fixture) {
	p := f.start(typed(f.command(program{
		out("out\n"), closeOut, errOut("err\n"), closeErr, readLine, pause(200 * time.Millisecond), exitLine,
	})))
	p.out().await("out\n")
	p.errOut().await("err\n")
	p.write("5\n")
	require.Equal(f, "out\n", p.out().all())
	require.Equal(f, "err\n", p.errOut().all())
	p.requireExit(5)
}

// outputHeldByChild: text that a child in the background writes after the command has exited is output too.
func outputHeldByChild(f *fixture) {
	g, v := f.gate(), f.watch()
	p := f.start(f.command(program{watched, background(atGate(2), out("late\n")), out("early\n"), exit(5)}, v.name, g.file))
	v.requireAllExited() // The vigil is for the command, not for its child.
	g.open()
	require.Equal(f, "early\nlate\n", p.out().all())
	p.requireExit(5)
}
