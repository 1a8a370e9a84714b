package wsep

import (
	"io"
	"testing"
	"time"

	"github.com/charmbracelet/x/conpty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

// TestWindowsResize: rows are the height, columns the width. A console that is closed takes no size.
func TestWindowsResize(t *testing.T) {
	resize := resizeConsole
	defer func() { resizeConsole = resize }()
	type size struct{ width, height int }
	var got []size
	resizeConsole = func(_ *conpty.ConPty, width, height int) error {
		got = append(got, size{width, height})
		return nil
	}
	c := helperCommand(t, "idle")
	c.TTY = true
	p, err := Again{}.Start(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, p.Resize(t.Context(), 31, 101))
	require.NoError(t, p.Resize(t.Context(), 65535, 1))
	require.NoError(t, p.Close())
	require.NoError(t, p.Resize(t.Context(), 24, 80))
	_ = p.Wait()
	require.NoError(t, p.Resize(t.Context(), 24, 80))
	require.Equal(t, []size{{101, 31}, {1, 32767}}, got)
}

// TestWindowsInterruptTypes: the signal INT types Ctrl-C in a terminal.
func TestWindowsInterruptTypes(t *testing.T) {
	ours, theirs, err := newPipe(true)
	require.NoError(t, err)
	defer ours.Close()
	defer windows.CloseHandle(theirs)
	p := &localProcess{exited: make(chan struct{}), console: &console{input: &localStdin{f: ours}}}
	require.NoError(t, p.Signal(t.Context(), "INT"))
	typed := make([]byte, 10)
	var n uint32
	require.NoError(t, windows.ReadFile(theirs, typed, &n, nil))
	require.Equal(t, "\x03", string(typed[:n]))
}

// TestWindowsLastWordsOrder: when the program has exited, its console is closed. What that writes is read to its end. Wait returns when
// all of it is closed. A console may write its last output late, and be closed later still.
func TestWindowsLastWordsOrder(t *testing.T) {
	closeNow := closeConsole
	defer func() { closeConsole = closeNow }()
	started := make(chan *localProcess, 1)
	var early bool // Wait has returned before the last output.
	closeConsole = func(pty *conpty.ConPty) error {
		p := <-started
		early = closesSoon(p.done)
		var n uint32
		_ = windows.WriteFile(windows.Handle(pty.OutPipeWriteFd()), []byte("last words"), &n, nil)
		err := closeNow(pty)
		_ = closesSoon(p.done)
		return err
	}
	c := helperCommand(t, "exit", "7")
	c.TTY = true
	p, err := Again{}.Start(t.Context(), c)
	require.NoError(t, err)
	local := p.(*localProcess)
	started <- local
	require.Equal(t, 7, p.Wait().(ExitError).ExitCode())
	require.True(t, isClosed(local.console.closed), "Wait has returned, and the console is open")
	require.False(t, early)
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Contains(t, string(out), "last words")
}

// closesSoon reports whether a channel is closed within a moment.
func closesSoon(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-time.After(300 * time.Millisecond):
		return false
	}
}
