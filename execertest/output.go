package execertest

import (
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
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
	p := f.start(shell(`echo out1; echo err1 >&2; echo out2; echo err2 >&2`))
	out, errOut := p.out(), p.errOut()
	require.Equal(f, "out1\nout2\n", out.all())
	require.Equal(f, "err1\nerr2\n", errOut.all())
	p.requireExit(0)
}

// outputAtOnce: output arrives when it is written, not when the program exits.
func outputAtOnce(f *fixture) {
	p := f.start(typed(shell(`printf prompt; printf note >&2; read line; printf "$line"`)))
	p.out().await("prompt")
	p.errOut().await("note")
	p.write("answer\n")
	require.Equal(f, "promptanswer", p.out().all())
	p.requireExit(0)
}

// outputEOFStays: after the last byte every read returns io.EOF.
func outputEOFStays(f *fixture) {
	p := f.start(shell(`echo out; echo err >&2`))
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
	dir := f.tempDir()
	want := f.run(shell(`head -c "$2" /dev/urandom >"$1/big"; `+sumScript+` <"$1/big"`, dir, strconv.Itoa(bigSize)))
	p := f.start(shell(`cat "$1/big"`, dir))
	require.Equal(f, strings.Fields(want)[0], p.digest()())
	p.requireExit(0)
}

// repetitions is how often a test runs if its result depends on a race.
var repetitions = func() int {
	if os.Getenv("WSEP_LONG_TESTS") != "" {
		return 200
	}
	return 20
}()

// outputLastBytes: output that a program writes before it exits is never lost.
func outputLastBytes(f *fixture) {
	for range repetitions {
		p := f.start(shell(`echo last words >&2; echo last words; exit 5`))
		out, errOut := p.out(), p.errOut()
		p.requireExit(5)
		require.Equal(f, "last words\n", out.all())
		require.Equal(f, "last words\n", errOut.all())
	}
}

// unreadSize is how many bytes of each output fit into the smallest buffer on the way, a pipe's.
const unreadSize = 32 << 10

// outputReadAfterWait: Wait returns although output that fits into the buffers is not read. All of it can be read
// afterwards.
func outputReadAfterWait(f *fixture) {
	text := strings.Repeat("0123456789abcde\n", unreadSize/16)
	p := f.start(shell(`printf %s "$1"; printf %s "$1" >&2; exit 5`, text))
	p.requireExit(5)
	require.Equal(f, text, p.out().all())
	require.Equal(f, text, p.errOut().all())
}

// unread returns a command that writes 48 KiB to one output, then much to the other.
func unread(silent, loud string) wsep.Command {
	return shell(`head -c 49152 /dev/zero >&` + silent + `; head -c ` + strconv.Itoa(bigSize) + ` /dev/zero >&` + loud + `; exit 5`)
}

// outputUnreadStdout: unread stdout that fits into the buffers delays neither stderr nor the exit code.
func outputUnreadStdout(f *fixture) {
	p := f.start(unread("1", "2"))
	require.EqualValues(f, bigSize, p.count("stderr", p.Stderr())(), "bytes")
	p.requireExit(5)
	require.Equal(f, 48<<10, len(p.out().all()), "bytes")
}

// outputUnreadStderr: unread stderr that fits into the buffers delays neither stdout nor the exit code.
func outputUnreadStderr(f *fixture) {
	p := f.start(unread("2", "1"))
	require.EqualValues(f, bigSize, p.count("stdout", p.Stdout())(), "bytes")
	p.requireExit(5)
	require.Equal(f, 48<<10, len(p.errOut().all()), "bytes")
}

// outputClosedEarly: a program that closes its outputs runs on.
func outputClosedEarly(f *fixture) {
	p := f.start(typed(shell(`echo out; exec >&-; echo err >&2; exec 2>&-; read line; sleep 0.2; exit "$line"`)))
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
	p := f.start(shell(`exec 3>"$2"; (exec 3>&-; `+atGate+`; echo late) & echo early; exit 5`, g.file, v.fifo))
	v.requireAllExited() // The vigil is for the command, not for its child.
	g.open()
	require.Equal(f, "early\nlate\n", p.out().all())
	p.requireExit(5)
}
