package execertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

var terminalLines = []line{
	{"IsTerminal", terminalIsTerminal},
	{"Size", terminalSize},
	{"DefaultSize", terminalDefaultSize},
	{"Resize", terminalResize},
	{"ResizeThenType", terminalResizeThenType},
	{"ResizeSignal", terminalResizeSignal},
	{"ResizeWithout", terminalResizeWithout},
	{"Output", terminalOutput},
	{"LastBytes", terminalLastBytes},
	{"ReadAfterWait", terminalReadAfterWait},
	{"Typing", terminalTyping},
	{"Erase", terminalErase},
	{"Interrupt", terminalInterrupt},
	{"StdinClose", terminalStdinClose},
	{"StdinCloseMidLine", terminalStdinCloseMidLine},
	{"WithoutStdin", terminalWithoutStdin},
}

// crlf returns the text as a terminal writes it.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// terminalIsTerminal: a command with TTY has a terminal on stdin, stdout and stderr, and it is the controlling one. A
// command without TTY has none.
func terminalIsTerminal(f *fixture) {
	c := f.command(program{outTerminals, outControlling})
	c.TTY = true
	require.Equal(f, crlf("0\n1\n2\ntty\n"), f.run(c))
	c = typed(f.command(program{outTerminals}))
	require.Empty(f, f.run(c))
}

// terminalSize: the terminal has the rows and columns that the command asks for. The others are the default.
func terminalSize(f *fixture) {
	for _, size := range []struct {
		rows, cols uint16
		want       string
	}{
		{50, 132, "50 132"}, {1, 1, "1 1"}, {65535, 65535, "65535 65535"}, {50, 0, "50 80"}, {0, 132, "24 132"},
	} {
		c := onTerminal(f.command(program{outSize}))
		c.Rows, c.Cols = size.rows, size.cols
		require.Equal(f, size.want+"\r\n", f.run(c))
	}
}

// terminalDefaultSize: a terminal has 24 rows and 80 columns unless the command says otherwise.
func terminalDefaultSize(f *fixture) {
	require.Equal(f, "24 80\r\n", f.run(onTerminal(f.command(program{outSize}))))
}

func (p *process) resize(rows, cols uint16) {
	p.f.Helper()
	var err error
	p.f.within(patience, "Resize", func() { err = p.Resize(p.f.Context(), rows, cols) })
	require.NoError(p.f, err)
}

// terminalResize: the terminal takes on the new size. Of several the last one stays.
func terminalResize(f *fixture) {
	p := f.start(onTerminal(f.command(program{awaitSize("51 133"), out("resized\n"), readLine, outSize})))
	for i := range uint16(20) {
		p.resize(30+i, 100)
	}
	p.resize(51, 133)
	p.out().await("resized")
	p.write("\n")
	require.Contains(f, p.out().all(), "51 133")
	p.requireExit(0)
}

// terminalResizeThenType: what is typed after a Resize reaches the program after the new size.
func terminalResizeThenType(f *fixture) {
	const times = 20
	script := program{out("ready\n")}
	for range times {
		script = append(script, readLine, outSize)
	}
	p := f.start(onTerminal(f.command(script)))
	p.out().await("ready")
	for i := range times {
		p.resize(uint16(30+i), uint16(100+i))
		p.write("\n")
		p.out().await(fmt.Sprintf("%d %d", 30+i, 100+i))
	}
	p.requireExit(0)
}

// terminalResizeSignal: the program gets SIGWINCH after a Resize.
func terminalResizeSignal(f *fixture) {
	p := f.start(onTerminal(f.command(program{onSignal("WINCH", outSize, exit(5)), out("ready\n"), idle})))
	p.out().await("ready")
	p.resize(51, 133)
	require.Equal(f, "ready\r\n51 133\r\n", p.out().all())
	p.requireExit(5)
}

// terminalResizeWithout: without a terminal Resize does nothing.
func terminalResizeWithout(f *fixture) {
	p := f.start(typed(f.command(program{onSignal("WINCH", exit(1)), out("ready\n"), cat})))
	p.out().await("ready\n")
	p.resize(51, 133)
	p.write("text")
	p.closeStdin()
	require.Equal(f, "ready\ntext", p.out().all())
	p.requireExit(0)
}

// terminalOutput: all output of a terminal is on stdout, whole and in its order, and ends with io.EOF.
func terminalOutput(f *fixture) {
	var want strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&want, "%d\r\n", i+1)
	}
	p := f.start(onTerminal(f.command(program{outNumbers})))
	stdout, stderr := p.out(), p.errOut()
	require.True(f, want.String() == stdout.all(), "output is not what the program wrote")
	require.Empty(f, stderr.all())
	p.requireExit(0)
}

// terminalLastBytes: text that a program writes to its terminal before it exits is never lost.
func terminalLastBytes(f *fixture) {
	for range repetitions {
		p := f.start(onTerminal(f.command(program{out("last words\n"), exit(5)})))
		stdout := p.out()
		p.requireExit(5)
		require.Equal(f, "last words\r\n", stdout.all())
	}
}

// terminalReadAfterWait: Wait returns although output that fits into the terminal's buffer is not read. All of it can
// be read afterwards.
func terminalReadAfterWait(f *fixture) {
	text := strings.Repeat("0123456789abcde\n", 64)
	p := f.start(onTerminal(f.command(program{outArg(1), exit(5)}, text)))
	p.requireExit(5)
	require.Equal(f, crlf(text), p.out().all())
	require.Empty(f, p.errOut().all())
}

// terminalTyping: typed text arrives whole, also if it is much more than the terminal's buffer holds.
func terminalTyping(f *fixture) {
	var text strings.Builder
	for i := range typedLines {
		fmt.Fprintf(&text, "line %d of what is typed\n", i)
	}
	want, err := digest(strings.NewReader(text.String()))
	require.NoError(f, err)
	p := f.start(onTerminal(f.command(program{noEcho, out("ready\n"), sumLines(typedLines)})))
	p.out().await("ready")
	p.write(text.String())
	require.Contains(f, p.out().all(), want)
	p.requireExit(0)
}

// terminalErase: the erase character removes a whole character, also one of several bytes in UTF-8.
func terminalErase(f *fixture) {
	p := f.start(onTerminal(f.command(program{noEcho, out("ready\n"), readLine, outLine, out("\n"), exit(5)})))
	p.out().await("ready")
	p.write("ax\bé\b€\b𝄞\bb\n")
	require.Equal(f, crlf("ready\nab\n"), p.out().all())
	p.requireExit(5)
}

// terminalInterrupt: the interrupt character sends SIGINT to the program.
func terminalInterrupt(f *fixture) {
	p := f.start(onTerminal(f.command(program{onSignal("INT", out("interrupted\n"), exit(5)), out("ready\n"), idle})))
	p.out().await("ready")
	p.write("\x03")
	require.Contains(f, p.out().all(), "interrupted")
	p.requireExit(5)
}

// terminalStdinClose: closing stdin is an end of file for the program. The terminal stays open and does not hang up.
func terminalStdinClose(f *fixture) {
	requireEndOfFile(f, "typed\n")
	requireEndOfFile(f, "")
}

// terminalStdinCloseMidLine: closing stdin is an end of file also within a line.
func terminalStdinCloseMidLine(f *fixture) {
	requireEndOfFile(f, "typed")
	requireEndOfFile(f, "typed\nmore")
}

func requireEndOfFile(f *fixture, text string) {
	f.Helper()
	p := f.start(onTerminal(f.command(program{
		onSignal("HUP", out("hangup\n"), exit(1)), noEcho, out("ready\n"), cat, out("after\n"), outSize, exit(5),
	})))
	p.out().await("ready")
	p.write(text)
	p.closeStdin()
	p.out().await("after")
	require.Equal(f, crlf("ready\n"+text+"after\n24 80\n"), p.out().all())
	p.requireExit(5)
}

// terminalWithoutStdin: a terminal without Stdin takes no input, not even an end of file.
func terminalWithoutStdin(f *fixture) {
	g := f.gate()
	c := f.command(program{catBackground, out("ready\n"), atGate(1), pause(500 * time.Millisecond), out("bye\n"), exit(5)}, g.file)
	c.TTY = true
	p := f.start(c)
	require.Error(f, p.tryWrite("lost\n"))
	p.out().await("ready")
	require.Error(f, p.tryWrite("lost\n"))
	p.closeStdin()
	g.open()
	require.Equal(f, crlf("ready\nbye\n"), p.out().all())
	p.requireExit(5)
}
