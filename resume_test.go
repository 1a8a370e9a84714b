//go:build linux

package wsep_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
	"cdr.dev/wsep/internal/streamtest"
)

// TestCutAtEveryByte cuts a conversation's connection at each byte, in either direction, once. One conversation is over pipes, the
// other is over a terminal.
func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hold func(context.Context, wsep.Execer) error
		step int64 // of the short test, in bytes
	}{"pipes": {holdPipes, 17}, "terminal": {holdTerminal, 71}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := c.step
			switch {
			case longTests:
				step = 1
			case testing.Short():
				step *= 3
			}
			cutAtEvery(t, step, c.hold)
		})
	}
}

// cutAtEvery holds a conversation again and again. It is cut so many bytes later each time, until it has fewer bytes.
func cutAtEvery(t *testing.T, step int64, hold func(context.Context, wsep.Execer) error) {
	for _, up := range []bool{true, false} {
		url := serveCut(t, &wsep.Handler{}) // A server remembers so many lost starts alone.
		for after := int64(0); ; after += step {
			how := []cuttest.How{cuttest.Reset, cuttest.Close}[after%2]
			proxy := cuttest.New(t, url, cutFirst(cuttest.Plan{How: how, Up: up, After: after}))
			err := inTime(hold, wsep.Dialer{URL: proxy.URL()})
			require.NoError(t, err, "up %v, cut %v after %d bytes", up, how, after)
			if proxy.Cuts() == 0 {
				require.Greater(t, after, int64(100))
				break
			}
		}
	}
}

// TestStreamsSurviveCuts sends much through a process, over connections that are cut all the time.
func TestStreamsSurviveCuts(t *testing.T) {
	t.Parallel()
	url := serveCut(t, &wsep.Handler{})
	r := rand.New(rand.NewPCG(1, 2))
	proxy := cuttest.New(t, url, func() cuttest.Plan {
		return cuttest.Plan{How: cuttest.Reset + cuttest.How(r.IntN(2)), Up: r.IntN(2) == 0, After: r.Int64N(1 << 20)}
	})
	data := streamtest.RandomBytes(16 << 20)
	p, err := wsep.Dialer{URL: proxy.URL()}.Start(t.Context(), wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	go func() {
		_, _ = io.Copy(p.Stdin(), bytes.NewReader(data))
		_ = p.Stdin().Close()
	}()
	got, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	require.NoError(t, p.Wait())
	require.Greater(t, proxy.Cuts(), int64(10))
}
