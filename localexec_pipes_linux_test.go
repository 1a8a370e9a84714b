package wsep

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pipeSize returns how many bytes a pipe holds.
func pipeSize(t *testing.T, f *os.File) (size int) {
	t.Helper()
	conn, err := f.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, conn.Control(func(fd uintptr) { size, err = unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) }))
	require.NoError(t, err)
	return size
}

// TestFewPipesAreWide: wide pipes count towards a limit for the user. Beyond it, all the user's new pipes would be narrow.
func TestFewPipesAreWide(t *testing.T) {
	require.Eventually(t, func() bool { return wide.Load() == 0 }, 10*time.Second, time.Millisecond,
		"what other tests have widened is closed")
	much := make([]byte, busyPipe)
	for range 2 {
		var stdins []*pipeStdin
		var outputs []*localOutput
		widePipes := 0
		for range maxWide {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			in, out := newPipeStdin(w, nil), newLocalOutput(r)
			stdins, outputs = append(stdins, in), append(outputs, out)
			_, err = in.Write(much[:100])
			require.NoError(t, err)
			_, err = out.Read(much)
			require.NoError(t, err)
			require.Less(t, pipeSize(t, r), widePipe, "a pipe that carries little")
			_, err = in.Write(much)
			require.NoError(t, err)
			_, err = io.ReadFull(out, much)
			require.NoError(t, err)
			if pipeSize(t, r) >= widePipe {
				widePipes++
			}
		}
		// Each has been counted for its two ends.
		require.Equal(t, maxWide/2, widePipes)
		require.EqualValues(t, maxWide, wide.Load())
		for i, in := range stdins {
			require.NoError(t, in.Close())
			outputs[i].close()
		}
		require.Zero(t, wide.Load())
	}
}
