//go:build linux

package wsep_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
	"cdr.dev/wsep/internal/vt"
)

// TestNewcomerSeesWhatOthersSee: a client attaches at any time, and from then on its terminal shows what the terminal of one
// that was there shows: text, colors, the alternate screen, modes, and what has scrolled off.
func TestNewcomerSeesWhatOthersSee(t *testing.T) {
	_, execer := sessionServer(t, native())
	c := bash("1")
	c.Scrollback = 1 << 31
	first := watch(t, execer, c)
	first.waitFor("ready>")
	for i, line := range []string{
		`seq 1 100`,
		`printf '\033[1;3;38;2;1;2;3mitalic\033[m \033]8;;http://x.test\033\\link\033]8;;\033\\ 漢字 e\u0301\n'`,
		`printf '\033[?1049h\033[?2004h\033[?1002h\033[?1006h\033[5;10r\033[31min the alternate screen'`,
		`printf '\033[?1049l\033[r\033]2;a title\007\033[?25l\033[4 q'`,
	} {
		typeLine(t, first.p, line+fmt.Sprintf("; echo 'done' %d", i))
		first.waitFor(fmt.Sprint("done ", i))
		first.waitFor("ready>")
		next := watch(t, execer, c)
		require.Eventually(t, func() bool { return first.snapshot() == next.snapshot() }, patience, time.Millisecond,
			"%q\n%q", lazy(first.snapshot), lazy(next.snapshot))
		next.leave()
	}
	without := c
	without.Scrollback = 0
	next := watch(t, execer, without)
	next.waitFor("italic")
	require.NotContains(t, next.text(), "1 2 3 4 5")
	typeLine(t, first.p, "exit 7")
	for _, v := range []*view{first, next} {
		requireExit(t, v.p, 7)
		timetest.Receive(t, v.read)
	}
}

// TestSlowClientHoldsUpNobody: one client does not read. The command goes on, and so does another client. Then the slow one
// reads, and sees what the other sees.
func TestSlowClientHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c := script("", "read x; seq -f %070.0f 1 30000; echo end; read x; exit 3")
	session := newNative(t, c)
	slow, err := session.Attach(t.Context())
	require.NoError(t, err)
	fast := watch(t, sessionsOf{session}, wsep.Command{})
	typeLine(t, fast.p, "")
	fast.waitFor("30000 end")

	var shown bytes.Buffer
	buf := make([]byte, 64<<10)
	for !strings.Contains(shown.String(), "30000\r\nend") {
		n, err := slow.Stdout().Read(buf)
		require.NoError(t, err)
		shown.Write(buf[:n])
	}
	// It has got the beginning, and then the screen in place of the rest.
	require.Less(t, shown.Len(), 3<<20)
	begins, drawn, cut := strings.Cut(shown.String(), "\x18")
	require.True(t, cut)
	require.Contains(t, begins, "01000\r\n")
	require.True(t, strings.HasSuffix(begins, "\n") || !strings.Contains(begins[strings.LastIndex(begins, "\n"):], "\x1b"))
	require.Contains(t, drawn, "30000\r\nend")
	typeLine(t, slow, "")
	requireExit(t, slow, 3)
	requireExit(t, fast.p, 3)
}

// TestLastWordsArrive: a command writes much, and exits at once. Its client reads only then.
func TestLastWordsArrive(t *testing.T) {
	t.Parallel()
	for range often(20, 200) {
		session := newNative(t, script("", "seq 1 20000; echo the last words; exit 5"))
		p, err := session.Attach(t.Context())
		require.NoError(t, err)
		requireExit(t, p, 5)
		out, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		require.Contains(t, string(out), "20000\r\nthe last words\r\n")
		state, _ := session.WaitForState(wsep.StateDone)
		require.EqualValues(t, wsep.StateDone, state)
	}
}

// TestCommandThatExitsBeforeItsClient: the session waits for its first client, which gets everything.
func TestCommandThatExitsBeforeItsClient(t *testing.T) {
	session := newNative(t, script("", "echo out; exit 6"))
	_, _ = session.WaitForState(wsep.StateReady)
	time.Sleep(50 * time.Millisecond) // The command exits meanwhile. If it does not, the test shows less.
	p, err := session.Attach(t.Context())
	require.NoError(t, err)
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Equal(t, "out", textOf(string(out)))
	requireExit(t, p, 6)
}

// TestInputIsWhole: what two clients type arrives whole, each paste in one piece, though the command reads late.
func TestInputIsWhole(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	file := filepath.Join(t.TempDir(), "read")
	session := newNative(t, script("", fmt.Sprintf("stty raw -echo; echo up; sleep 0.2; head -c %d >%s; exit 4", 2*size, file)))
	var clients []*view
	for range 2 {
		clients = append(clients, watch(t, sessionsOf{session}, wsep.Command{}))
	}
	clients[0].waitFor("up")
	var typing sync.WaitGroup
	for i, v := range clients {
		typing.Go(func() {
			_, err := v.p.Stdin().Write(bytes.Repeat([]byte{'a' + byte(i)}, size))
			if err != nil {
				t.Error(err)
			}
		})
	}
	typing.Wait()
	requireExit(t, clients[0].p, 4)
	read, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Len(t, read, 2*size)
	other := bytes.IndexByte(read, read[0]^'a'^'b')
	require.Equal(t, size, other, "two pastes are mixed")
}

// TestWriterThatLeaves: the command does not read. A client whose write waits can leave, and another can then type.
func TestWriterThatLeaves(t *testing.T) {
	session := newNative(t, script("", "stty raw -echo; echo up; sleep 1000"))
	a, b := watch(t, sessionsOf{session}, wsep.Command{}), watch(t, sessionsOf{session}, wsep.Command{})
	a.waitFor("up")
	wrote := make(chan error, 2)
	for _, v := range []*view{a, b} {
		go func() {
			_, err := v.p.Stdin().Write(make([]byte, 1<<20))
			wrote <- err
		}()
	}
	time.Sleep(50 * time.Millisecond) // A write that did not wait would be done by then.
	require.Empty(t, wrote)
	a.leave()
	require.ErrorIs(t, timetest.Receive(t, wrote), os.ErrClosed)
	session.Close("it is over")
	require.ErrorContains(t, waitWithin(t, b.p, patience), "it is over")
	require.Error(t, timetest.Receive(t, wrote))
}

// TestSizeIsThatOfTheLast: the client that has attached, typed or resized last sets the size. Others see what fits.
func TestSizeIsThatOfTheLast(t *testing.T) {
	_, execer := sessionServer(t, native())
	sized := func(rows, cols uint16) wsep.Command {
		c := bash("1")
		c.Rows, c.Cols = rows, cols
		return c
	}
	ask := func(v *view, want string) {
		t.Helper()
		typeLine(t, v.p, "echo $(stty size)=; ")
		v.waitFor(want + "=")
	}
	a := watch(t, execer, sized(20, 60))
	ask(a, "20 60")
	b := watch(t, execer, sized(30, 100))
	b.waitFor("ready>")
	typeLine(t, b.p, `clear; printf '%s\n' "$(stty size)" 0123456789$(printf %080d 7)x ; printf '\033[15;1Hat 15\033[25;1Hat 25\033[1;31mred'`)
	b.waitFor("at 25")
	b.waitFor("30 100")
	// The first one sees the upper left, and no more.
	a.waitFor("at 15")
	a.waitFor("30 100 0123456789" + strings.Repeat("0", 50) + " ")
	require.NotContains(t, a.text(), "at 25")
	require.NotContains(t, a.text(), "7x")
	// It types, and has its size again. The other one sees that in its upper left.
	typeLine(t, a.p, "clear")
	ask(a, "20 60")
	require.Eventually(t, func() bool { return !strings.Contains(b.text(), "at 25") }, patience, time.Millisecond)
	b.waitFor("20 60=")
	require.NoError(t, b.p.Resize(t.Context(), 40, 90))
	b.mu.Lock()
	b.term.Resize(40, 90)
	b.mu.Unlock()
	ask(b, "40 90")
	// It leaves, and the one that is left sets the size.
	b.leave()
	require.Eventually(t, func() bool {
		typeLine(t, a.p, "clear; echo $(stty size)=")
		time.Sleep(10 * time.Millisecond) // The shell has to answer.
		return strings.Contains(a.text(), "20 60=")
	}, patience, time.Millisecond)
	typeLine(t, a.p, "exit")
	requireExit(t, a.p, 0)
}

// TestResizeCrossesDrawing: a client's terminal changes its size while a drawing is on its way there. It then gets a drawing for
// the new size.
func TestResizeCrossesDrawing(t *testing.T) {
	for _, scrollback := range []uint32{0, 1000} {
		_, execer := sessionServer(t, native())
		c := script("1", "seq 1 100; printf %0200d 7; printf '\\033[5;70Hfar right\\033[24;1Hlast'; exec sleep 1000")
		first := watch(t, execer, c)
		first.waitFor("last")
		c.Rows, c.Cols, c.Scrollback = 30, 100, scrollback
		crossing := watch(t, resizing{execer}, c)
		crossing.waitFor("last")
		next := watch(t, execer, c)
		require.Eventually(t, func() bool { return crossing.snapshot() == next.snapshot() }, patience, 5*time.Millisecond,
			"%q\n%q", lazy(crossing.snapshot), lazy(next.snapshot))
	}
}

// resizing is an Execer whose processes get their size after their start.
type resizing struct{ wsep.Execer }

func (e resizing) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	rows, cols := c.Rows, c.Cols
	c.Rows, c.Cols = 24, 80
	p, err := e.Execer.Start(ctx, c)
	if err == nil {
		err = p.Resize(ctx, rows, cols)
	}
	return p, err
}

// TestQueriesAreAnsweredOnce: a command asks its terminal. The model answers while no client is attached, and else the client
// that leads. What looks like an answer of another client does not arrive.
func TestQueriesAreAnsweredOnce(t *testing.T) {
	dir := t.TempDir()
	file, again, end := filepath.Join(dir, "read"), filepath.Join(dir, "again"), filepath.Join(dir, "end")
	const query = `printf '\033[c\033[6n\033]11;?\033\\asked'; `
	await := func(file string) string { return "until [ -e " + file + " ]; do sleep 0.01; done; " }
	session := newNative(t, script("",
		"stty raw -echo; exec 3<&0; cat <&3 >"+file+" & "+query+await(again)+query+await(end)+"kill $!"))
	want := ""
	arrives := func(more string) {
		t.Helper()
		want += more
		require.Eventually(t, func() bool {
			read, _ := os.ReadFile(file)
			return string(read) == want
		}, patience, time.Millisecond, "%q, %q", want, lazy(func() string {
			read, _ := os.ReadFile(file)
			return string(read)
		}))
	}
	answer := func(v *view, s string) {
		t.Helper()
		_, err := io.WriteString(v.p.Stdin(), s)
		require.NoError(t, err)
	}
	arrives("\x1b[?1;2c\x1b[1;1R\x1b]11;rgb:0000/0000/0000\x1b\\")

	a, b := watch(t, sessionsOf{session}, wsep.Command{}), watch(t, sessionsOf{session}, wsep.Command{})
	require.NoError(t, os.WriteFile(again, nil, 0o600))
	a.waitFor("askedasked")
	b.waitFor("askedasked")
	answer(a, "\x1b[?62;4c\x1b[5;5R\x1b]11;rgb:ffff/ffff/ffff\x1b\\")
	answer(b, "\x1b[?62;9c\x1b[7;7R\x1b]11;rgb:7777/7777/7777\x07")
	arrives("\x1b[?62;9c\x1b[7;7R\x1b]11;rgb:7777/7777/7777\x07")
	answer(a, "\x1b[1;5R") // A key.
	arrives("\x1b[1;5R")
	answer(b, "\x1b[?62;4cx")
	arrives("x")
	// An answer comes in two writes. After its first byte, which may be a key, it is not split here.
	for _, s := range []string{
		"\x1b[?62;4c", "\x1b[?2026;2$y", "\x1b[8;24;80t", "\x1b]11;rgb:ffff/ffff/ffff\x1b\\", "\x1bP>|xterm(1)\x1b\\", "\x1bP1$r0m\x1b\\",
	} {
		for i := 3; i < len(s); i++ {
			answer(a, s[:i])
			answer(a, s[i:])
		}
	}
	answer(a, "\x1b[5") // Half a key.
	answer(a, "~y")
	arrives("\x1b[5~y")
	require.NoError(t, os.WriteFile(end, nil, 0o600))
	requireExit(t, a.p, 0)
}

// TestLeavingResets: whatever the command has set, the terminal of a client that leaves is as usual.
func TestLeavingResets(t *testing.T) {
	const set = `printf '\033[?1049h\033[?1002h\033[?1006h\033[?2004h\033[?1004h\033[?1h\033=\033[?25l\033[4 q\033[4h\033[1;31m\033[5;9r\033(0\033[>1uup'`
	session := newNative(t, script("", set+"; exec sleep 1000"))
	v := watch(t, sessionsOf{session}, wsep.Command{})
	v.waitFor("┤⎻") // "up", in DEC's graphics
	v.leave()
	usual := vt.New(24, 80, 0)
	usual.Write([]byte("\x1b[H\x1b[2J"))
	require.Equal(t, string(usual.Snapshot(0)), v.snapshot())
}

// TestNativeEnvironment: the command knows what its terminal can do.
func TestNativeEnvironment(t *testing.T) {
	_, execer := sessionServer(t, native())
	t.Setenv("TERM", "dumb")
	got := environmentIn(t, execer, "1", []string{"A=b"})
	require.Subset(t, got, []string{"TERM=xterm-256color", "COLORTERM=truecolor", "WSEP_TTY=true", "A=b"})
	got = environmentIn(t, execer, "1", []string{"TERM=vt100", "COLORTERM="})
	require.Subset(t, got, []string{"TERM=vt100", "COLORTERM="})
}

// TestFullScreenPrograms runs vim and less. A client that comes later sees them, and the screen is as before when they exit.
func TestFullScreenPrograms(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, "line %d of the text\n", i)
	}
	require.NoError(t, os.WriteFile(text, []byte(lines.String()), 0o600))
	for _, tc := range []struct{ command, quit, at string }{
		{"less " + text, "q", "line 300"},
		{"vim -u NONE -c 'set ruler nomodeline' " + text, ":q!\r", "line 300"},
	} {
		program, _, _ := strings.Cut(tc.command, " ")
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip(program + " is not installed")
			}
			_, execer := sessionServer(t, native())
			c := bash("1")
			c.Scrollback = 10_000
			a := watch(t, execer, c)
			typeLine(t, a.p, "echo before; "+tc.command)
			a.waitFor("line 5 of")
			_, err := io.WriteString(a.p.Stdin(), "301G")
			require.NoError(t, err)
			a.waitFor(tc.at)
			b := watch(t, execer, c)
			b.waitFor(tc.at)
			require.Eventually(t, func() bool { return a.snapshot() == b.snapshot() }, patience, time.Millisecond,
				"%q\n%q", lazy(a.snapshot), lazy(b.snapshot))
			_, err = io.WriteString(b.p.Stdin(), tc.quit)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return !strings.Contains(a.text(), tc.at) }, patience, time.Millisecond)
			typeLine(t, b.p, "echo after")
			b.waitFor("after")
			require.Eventually(t, func() bool { return a.snapshot() == b.snapshot() }, patience, time.Millisecond)
			require.Contains(t, b.text(), "before")
			typeLine(t, b.p, "exit")
			requireExit(t, b.p, 0)
		})
	}
}

// TestCreatedOrFound: a process says where its session comes from, also through a gateway.
func TestCreatedOrFound(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		_, far := sessionServer(t, opts)
		gateway := wsep.Dialer{URL: newServer(t, &wsep.Handler{Execer: far})}
		origin := func(execer wsep.Execer, id string) wsep.SessionOrigin {
			t.Helper()
			c := script(id, "cat")
			p, err := execer.Start(t.Context(), c)
			require.NoError(t, err)
			defer func() {
				require.NoError(t, p.Close())
				require.Error(t, waitWithin(t, p, patience))
			}()
			return p.(wsep.Sessioner).Session()
		}
		require.Equal(t, wsep.SessionUnknown, origin(far, ""))
		require.Equal(t, wsep.SessionUnknown, origin(gateway, ""))
		require.Equal(t, wsep.SessionCreated, origin(far, "1"))
		require.Equal(t, wsep.SessionFound, origin(far, "1"))
		require.Equal(t, wsep.SessionFound, origin(gateway, "1"))
		require.Equal(t, wsep.SessionCreated, origin(gateway, "2"))
		require.Equal(t, wsep.SessionFound, origin(gateway, "2"))
	})
}

// TestCloseEndsTheWholeTerminal: jobs in groups of their own end with their session.
func TestCloseEndsTheWholeTerminal(t *testing.T) {
	t.Parallel()
	m := newMark(t)
	c := m.on(bash2("1"))
	session := newNative(t, c)
	v := watch(t, sessionsOf{session}, wsep.Command{})
	v.waitFor("up")
	session.Close("it is over")
	m.requireNone(t, patience)
	// A command that exits by itself leaves them alone.
	session = newNative(t, m.on(script("", "trap '' HUP; sleep 1000 & echo up")))
	v = watch(t, sessionsOf{session}, wsep.Command{})
	requireExit(t, v.p, 0)
	timetest.Receive(t, v.read)
	require.Contains(t, v.text(), "up")
	session.Wait()
	require.NoError(t, syscall.Kill(m.find(t, "sleep"), syscall.SIGKILL))
}

// TestOutputIsTheSame: of a client that reads, a session changes no byte.
func TestOutputIsTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bytes")
	seed := bytes.Repeat([]byte("\x1b[31mred\x1b[m é漢 \x1b]0;t\x07 line\r\n"), 20_000)
	require.NoError(t, os.WriteFile(file, seed, 0o600))
	session := newNative(t, script("", "stty raw; read x; cat "+file))
	p, err := session.Attach(t.Context())
	require.NoError(t, err)
	var shown bytes.Buffer
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(&shown, p.Stdout())
		read <- err
	}()
	time.Sleep(20 * time.Millisecond) // The client reads first. If it does not, the test shows less.
	typeLine(t, p, "")
	require.NoError(t, timetest.Receive(t, read))
	requireExit(t, p, 0)
	i := bytes.Index(shown.Bytes(), []byte("\x1b[31mred"))
	require.GreaterOrEqual(t, i, 0)
	got := shown.Bytes()[i:]
	require.GreaterOrEqual(t, len(got), len(seed))
	require.Equal(t, sha256.Sum256(seed), sha256.Sum256(got[:len(seed)]))
}
