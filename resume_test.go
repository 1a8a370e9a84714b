//go:build linux

package wsep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
	"cdr.dev/wsep/internal/streamtest"
)

// cutFirst returns a plan by which the first connection is cut so, and no other.
func cutFirst(plan cuttest.Plan) func() cuttest.Plan {
	var asked atomic.Bool
	return func() cuttest.Plan {
		if asked.Swap(true) {
			return cuttest.Plan{}
		}
		return plan
	}
}

// pipes is a conversation with stdin, both outputs, a signal and an exit code. The program says how many signals it got.
var pipes = wsep.Command{Command: "sh", Stdin: true, Args: []string{"-c", `
	signals=
	trap 'signals=x$signals' USR1
	read -r line
	echo "out $line"
	echo "err $line" >&2
	until [ "$signals" ]; do { sleep 0.01; } 2>/dev/null; done
	{ sleep 0.02; } 2>/dev/null
	cat
	echo "signals $signals"
	exit 7`,
}}

// holdPipes has the conversation of pipes over an Execer, and requires that nothing was lost or done twice.
func holdPipes(execer wsep.Execer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := execer.Start(ctx, pipes)
	if err != nil {
		return &startFailed{fmt.Errorf("start: %w", err)}
	}
	if _, err := io.WriteString(p.Stdin(), "first\n"); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	first := make([]byte, len("out first\n"))
	if _, err := io.ReadFull(p.Stdout(), first); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if err := p.(wsep.Signaler).Signal(ctx, "USR1"); err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	if _, err := io.WriteString(p.Stdin(), "second\n"); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := p.Stdin().Close(); err != nil {
		return fmt.Errorf("close stdin: %w", err)
	}
	rest, err := io.ReadAll(p.Stdout())
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	complaints, err := io.ReadAll(p.Stderr())
	if err != nil {
		return fmt.Errorf("read stderr: %w", err)
	}
	exit, _ := errors.AsType[wsep.ExitError](p.Wait())
	got := fmt.Sprintf("%s%s%s%d", first, rest, complaints, exit.ExitCode())
	const want = "out first\nsecond\nsignals x\nerr first\n7"
	if got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

// TestCutAtEveryByte cuts a conversation's connection at each byte, in either direction, once.
func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	url := serveCut(t, &wsep.Handler{})
	step := int64(17)
	if longTests {
		step = 1
	}
	for _, up := range []bool{true, false} {
		for after := int64(0); ; after += step {
			how := []cuttest.How{cuttest.Reset, cuttest.Close}[after%2]
			proxy := cuttest.New(t, url, cutFirst(cuttest.Plan{How: how, Up: up, After: after}))
			err := holdPipes(wsep.Dialer{URL: proxy.URL()})
			require.NoError(t, err, "up %v, cut %v after %d bytes", up, how, after)
			if proxy.Cuts() == 0 {
				require.Greater(t, after, int64(100))
				break // The conversation has fewer bytes.
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
