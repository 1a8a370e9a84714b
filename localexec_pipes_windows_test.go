package wsep

import (
	"io"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

// TestWindowsOutputIsHeld: an output that the system does not end is no complete output.
func TestWindowsOutputIsHeld(t *testing.T) {
	o := heldOutput(t)
	require.False(t, o.drainToEnd(300*time.Millisecond))
	out, err := io.ReadAll(o)
	require.Equal(t, "some", string(out))
	require.Equal(t, errOutputHeld, err)
}

// heldOutput is an output with some text that the other end holds until the test's end.
func heldOutput(t *testing.T) *localOutput {
	t.Helper()
	ours, theirs, err := newPipe(false)
	require.NoError(t, err)
	t.Cleanup(func() { _ = windows.CloseHandle(theirs) })
	o := newLocalOutput(ours)
	o.ended = func() {}
	var n uint32
	require.NoError(t, windows.WriteFile(theirs, []byte("some"), &n, nil))
	return o
}

// TestWindowsDrop: what is dropped ends at once, and nothing of it is left to read, whatever has the output then.
func TestWindowsDrop(t *testing.T) {
	drops := map[string]func(o *localOutput){
		"WhileDrained": func(o *localOutput) {
			drained := make(chan bool)
			go func() { drained <- o.drainToEnd(time.Minute) }()
			for o.mu.TryLock() {
				o.mu.Unlock()
				runtime.Gosched()
			}
			o.close()
			require.False(t, <-drained)
		},
		"BeforeDrained": func(o *localOutput) {
			o.dropped.Store(true) // close waits for the lock.
			require.False(t, o.drainToEnd(time.Minute))
		},
		"BeforeRead": func(o *localOutput) { o.dropped.Store(true) },
		"Only":       func(o *localOutput) { o.close() },
	}
	for name, drop := range drops {
		t.Run(name, func(t *testing.T) {
			o := heldOutput(t)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				drop(o)
				out, err := io.ReadAll(o)
				assert.NoError(t, err)
				assert.Empty(t, out)
			}()
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				t.Fatal("the output does not end")
			}
		})
	}
}

// TestWindowsPipeRights: a program may choose that the reads of its stdin do not wait, as with a pipe of CreatePipe. For that it needs
// the right to write attributes (SetNamedPipeHandleState in the Windows API). Wine 8 does not check that right.
func TestWindowsPipeRights(t *testing.T) {
	ours, theirs, err := newPipe(true)
	require.NoError(t, err)
	defer ours.Close()
	defer windows.CloseHandle(theirs)
	var info struct { // PUBLIC_OBJECT_BASIC_INFORMATION
		attributes, granted, handles, pointers uint32
		reserved                               [10]uint32
	}
	status, _, _ := windows.NewLazySystemDLL("ntdll.dll").NewProc("NtQueryObject").Call(
		uintptr(theirs), 0, uintptr(unsafe.Pointer(&info)), unsafe.Sizeof(info), 0)
	require.Zero(t, status)
	require.NotZero(t, info.granted&windows.FILE_WRITE_ATTRIBUTES)
}
