//go:build !windows

package wsep_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
)

// copyTo copies a plain io.Reader to a process's stdin.
func copyTo(p wsep.Process, r io.Reader) (int64, error) {
	return p.Stdin().(io.ReaderFrom).ReadFrom(r)
}

func TestCopyToRemoteStdin(t *testing.T) {
	execer := wsep.Dialer{URL: newServer(t, &wsep.Handler{})}
	start := func(c wsep.Command) wsep.Process {
		c.Stdin = true
		p, err := execer.Start(t.Context(), c)
		require.NoError(t, err)
		return p
	}

	t.Run("all arrives, what is written meanwhile too", func(t *testing.T) {
		p := start(wsep.Command{Command: "cat"})
		first, rest := io.Pipe()
		copied := make(chan error, 1)
		go func() {
			n, err := copyTo(p, first)
			if n != 5<<20 {
				t.Errorf("copied %d bytes", n)
			}
			copied <- err
		}()
		_, err := p.Stdin().Write([]byte("written\n"))
		require.NoError(t, err)
		line := make([]byte, len("written\n"))
		_, err = io.ReadFull(p.Stdout(), line)
		require.NoError(t, err)
		require.Equal(t, "written\n", string(line))
		data := bytes.Repeat([]byte("0123456789"), 512<<10)
		go func() {
			_, _ = rest.Write(data)
			_ = rest.Close()
		}()
		got := make([]byte, len(data))
		_, err = io.ReadFull(p.Stdout(), got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.NoError(t, timetest.Receive(t, copied))
		require.NoError(t, p.Stdin().Close(), "the copy has not closed it")
		require.NoError(t, p.Wait())
	})
	t.Run("the reader's error", func(t *testing.T) {
		p := start(wsep.Command{Command: "cat"})
		broken := errors.New("broken")
		n, err := copyTo(p, io.MultiReader(strings.NewReader("some"), iotest.ErrReader(broken)))
		require.EqualValues(t, 4, n)
		require.ErrorIs(t, err, broken)
		require.NoError(t, p.Stdin().Close())
		out, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		require.Equal(t, "some", string(out))
		require.NoError(t, p.Wait())
	})
	t.Run("stdin is closed", func(t *testing.T) {
		p := start(wsep.Command{Command: "sleep", Args: []string{"100"}})
		require.NoError(t, p.Stdin().Close())
		_, err := copyTo(p, strings.NewReader("some"))
		require.ErrorIs(t, err, os.ErrClosed)
		require.NoError(t, p.Close())
		require.Error(t, p.Wait())
	})
	t.Run("the process has ended", func(t *testing.T) {
		p := start(wsep.Command{Command: "true"})
		require.NoError(t, p.Wait())
		_, err := copyTo(p, strings.NewReader("some"))
		require.ErrorIs(t, err, os.ErrProcessDone)
	})
}
