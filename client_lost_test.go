//go:build linux

package wsep_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/timetest"
)

// TestLostConnectionIsNoEnd: after a lost connection no method says that the process has exited.
func TestLostConnectionIsNoEnd(t *testing.T) {
	t.Parallel()
	far := newCable(t, serve(t, wsep.LocalExecer{}))
	near := serve(t, wsep.Dialer{URL: far.url(), Resume: -1})
	for name, execer := range map[string]wsep.Execer{
		"its own":             wsep.Dialer{URL: far.url(), Resume: -1},
		"that behind another": wsep.Dialer{URL: near, Resume: -1},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := execer.Start(t.Context(), wsep.Command{Command: "sleep", Args: []string{"1000"}, TTY: true, Stdin: true})
			require.NoError(t, err)
			full, err := execer.Start(t.Context(), wsep.Command{Command: "sleep", Args: []string{"1000"}, Stdin: true})
			require.NoError(t, err)
			waiting := make(chan error, 1)
			go func() {
				_, err := io.Copy(full.Stdin(), zeros{})
				waiting <- err
			}()
			time.AfterFunc(100*time.Millisecond, func() { far.cut(true) })
			answers := map[string]error{"Wait": p.Wait(), "a write that waits": timetest.Receive(t, waiting)}
			_, answers["Write"] = p.Stdin().Write([]byte("x"))
			_, answers["Read"] = io.ReadAll(p.Stdout())
			answers["Resize"] = p.Resize(t.Context(), 30, 90)
			answers["Signal"] = p.(wsep.Signaler).Signal(t.Context(), "INT")
			answers["closing stdin"] = p.Stdin().Close()
			for what, err := range answers {
				require.ErrorIs(t, err, wsep.ErrDisconnected, what)
				require.False(t, errors.Is(err, os.ErrProcessDone), what)
			}
			require.NoError(t, p.Close())
		})
	}
}
