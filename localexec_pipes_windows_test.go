package wsep

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

// TestWindowsOutputIsHeld: an output that the system does not end is no complete output.
func TestWindowsOutputIsHeld(t *testing.T) {
	ours, theirs, err := newPipe(false)
	require.NoError(t, err)
	defer windows.CloseHandle(theirs)
	o := newLocalOutput(ours)
	o.ended = func() {}
	var n uint32
	require.NoError(t, windows.WriteFile(theirs, []byte("some"), &n, nil))
	interrupt := time.AfterFunc(time.Second, o.interrupt)
	defer interrupt.Stop()
	o.drainToEnd()
	out, err := io.ReadAll(o)
	require.Equal(t, "some", string(out))
	require.Equal(t, errOutputHeld, err)
}
