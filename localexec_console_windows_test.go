package wsep

import (
	"testing"

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
	p, err := LocalExecer{}.Start(t.Context(), c)
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
