//go:build unix

package wsep_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/streamtest"
)

// eachRunner runs a test over an Execer of this machine, and over one that a connection lies before.
func eachRunner(t *testing.T, test func(t *testing.T, execer wsep.Execer)) {
	t.Run("local", func(t *testing.T) { test(t, wsep.LocalExecer{}) })
	t.Run("remote", func(t *testing.T) { test(t, wsep.Dialer{URL: serve(t, wsep.LocalExecer{})}) })
}

func TestOutput(t *testing.T) {
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		out, err := wsep.Output(t.Context(), execer, sh("echo out; echo err >&2"))
		require.NoError(t, err)
		require.Equal(t, "out\n", string(out))

		out, err = wsep.Output(t.Context(), execer, sh("echo out; echo first >&2; echo it is broken >&2; exit 3"))
		require.Equal(t, "out\n", string(out), "what was written is returned with the error")
		exit, ok := errors.AsType[wsep.ExitError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 3, exit.ExitCode())
		require.Contains(t, err.Error(), `"it is broken"`)
		require.NotContains(t, err.Error(), "first")

		_, err = wsep.Output(t.Context(), execer, wsep.Command{Command: "wsep-no-such-program"})
		require.ErrorIs(t, err, exec.ErrNotFound)
		_, ok = errors.AsType[*wsep.StartError](err)
		require.True(t, ok, "%v", err)
	})
}

func TestCombinedOutput(t *testing.T) {
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		out, err := wsep.CombinedOutput(t.Context(), execer, sh("echo out; echo err >&2; exit 1"))
		exit, ok := errors.AsType[wsep.ExitError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 1, exit.ExitCode())
		require.ElementsMatch(t, []string{"out", "err"}, strings.Fields(string(out)))
	})
}

// TestRunCarriesStreams: all three at once, and more than fits any buffer on the way.
func TestRunCarriesStreams(t *testing.T) {
	t.Parallel()
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		data := streamtest.RandomBytes(5 << 20)
		var stdout, stderr bytes.Buffer
		err := wsep.Run(t.Context(), execer, sh("tee /dev/stderr"), bytes.NewReader(data), &stdout, &stderr)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, stdout.Bytes()))
		require.True(t, bytes.Equal(data, stderr.Bytes()))
	})
}

// TestRunDrains: an output without a writer does not make the command wait. Without stdin its input is empty.
func TestRunDrains(t *testing.T) {
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		c := sh("head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; cat; exit 5")
		c.Stdin = true
		err := wsep.Run(t.Context(), execer, c, nil, nil, nil)
		exit, ok := errors.AsType[wsep.ExitError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 5, exit.ExitCode())
	})
}

// TestRunToItsDeadline: the context's end is told as what it is.
func TestRunToItsDeadline(t *testing.T) {
	t.Parallel()
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := wsep.Output(ctx, execer, sh("exec sleep 1000"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, wsep.ErrDisconnected)

		_, err = wsep.Output(ctx, execer, sh("true"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, wsep.ErrDisconnected)
	})
}

// atWrite is a writer that calls a function at each write.
type atWrite func()

func (f atWrite) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// TestRunCanceled: what was written before the context's end stays written.
func TestRunCanceled(t *testing.T) {
	t.Parallel()
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var stdout bytes.Buffer
		both := io.MultiWriter(&stdout, atWrite(cancel))
		err := wsep.Run(ctx, execer, sh("echo begun; exec sleep 1000"), nil, both, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, wsep.ErrDisconnected)
		require.Equal(t, "begun\n", stdout.String())
	})
}

// TestRunUnreadStdin: a command need not read its input, and its exit does not wait for a reader that blocks.
func TestRunUnreadStdin(t *testing.T) {
	t.Parallel()
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		endless := iotest.DataErrReader(io.MultiReader(bytes.NewReader(make([]byte, 8<<20))))
		require.NoError(t, wsep.Run(t.Context(), execer, sh("exit 0"), endless, nil, nil))
		blocked, w := io.Pipe()
		defer w.Close()
		require.NoError(t, wsep.Run(t.Context(), execer, sh("exit 0"), blocked, nil, nil))
	})
}

// failAfter is a writer that takes so many bytes and then fails.
type failAfter struct{ left int }

var errDiskFull = errors.New("disk is full")

func (f *failAfter) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, errDiskFull
	}
	f.left -= len(p)
	return len(p), nil
}

// TestRunCallersStreamFails: the command is closed, however much it would still write, and its input does not look complete.
func TestRunCallersStreamFails(t *testing.T) {
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		err := wsep.Run(t.Context(), execer, sh("exec yes"), nil, &failAfter{1 << 20}, nil)
		require.ErrorIs(t, err, errDiskFull)

		var stdout bytes.Buffer
		half := io.MultiReader(strings.NewReader("half\n"), iotest.ErrReader(errDiskFull))
		err = wsep.Run(t.Context(), execer, sh("cat; echo complete"), half, &stdout, nil)
		require.ErrorIs(t, err, errDiskFull)
		require.NotContains(t, stdout.String(), "complete")
	})
}

// TestRunInTerminal: all the output of a terminal is on stdout.
func TestRunInTerminal(t *testing.T) {
	eachRunner(t, func(t *testing.T, execer wsep.Execer) {
		c := sh("test -t 1 && echo out && echo err >&2")
		c.TTY = true
		out, err := wsep.Output(t.Context(), execer, c)
		require.NoError(t, err)
		require.Equal(t, "out\r\nerr\r\n", string(out))
	})
}
