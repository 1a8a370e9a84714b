//go:build linux

package wsep_test

import (
	"context"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/execertest"
	"cdr.dev/wsep/internal/cuttest"
	"cdr.dev/wsep/wsplice"
)

// randomCuts returns a plan that cuts each connection somewhere within so many bytes, in one of these ways.
func randomCuts(seed uint64, within int64, ways ...cuttest.How) func() cuttest.Plan {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0))
	return func() cuttest.Plan {
		mu.Lock()
		defer mu.Unlock()
		plan := cuttest.Plan{How: ways[r.IntN(len(ways))], Up: r.IntN(2) == 0, After: r.Int64N(within)}
		if r.IntN(4) == 0 {
			plan.Piece = 1 + r.IntN(100)
		}
		return plan
	}
}

// hardCuts are cuts that both ends notice at once.
var hardCuts = []cuttest.How{cuttest.Reset, cuttest.Close}

// keepAlive is so short that silence is soon noticed.
const keepAlive = 300 * time.Millisecond

// TestStorm has many commands of all kinds over connections that are cut in all ways, until there were enough cuts.
func TestStorm(t *testing.T) {
	t.Parallel()
	const share, all = 150, 10_000
	url := serveCut(t, &wsep.Handler{Options: &wsep.Options{KeepAlive: keepAlive}})
	ways := append([]cuttest.How{cuttest.Swallow, cuttest.HalfOpen}, slowly(hardCuts, 8)...)
	proxy := cuttest.New(t, url, randomCuts(1, 200_000, ways...))
	execer := wsep.Dialer{URL: proxy.URL(), KeepAlive: keepAlive}
	var workers sync.WaitGroup
	var held, next atomic.Int64
	for n := range often(4, 8) {
		workers.Go(func() {
			for i := n; proxy.Cuts() < int64(often(share, all)); i++ {
				err := inStorm(i, execer)
				if err != nil && !lostBeforeItBegan(err) {
					t.Error(err)
					return
				}
				if err == nil {
					held.Add(1)
				}
				if told := next.Load(); proxy.Cuts() >= told && next.CompareAndSwap(told, told+500) {
					t.Logf("%d cuts so far", proxy.Cuts())
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d commands, %d cuts of %d connections", held.Load(), proxy.Cuts(), proxy.Connections())
}

// slowly repeats the ways, so that the others are rare.
func slowly(ways []cuttest.How, times int) (all []cuttest.How) {
	for range times {
		all = append(all, ways...)
	}
	return all
}

// TestChainSurvivesCuts cuts each hop of a chain of three, and a channel of wsplice.
func TestChainSurvivesCuts(t *testing.T) {
	t.Parallel()
	cut := func(seed uint64, url string) wsep.Dialer {
		return wsep.Dialer{URL: cuttest.New(t, url, randomCuts(seed, 100_000, hardCuts...)).URL()}
	}
	gateway := func(next wsep.Execer) string { return serveCut(t, &wsep.Handler{Execer: next}) }
	far := serveCut(t, &wsep.Handler{})
	for name, execer := range map[string]wsep.Execer{
		"chain":   cut(1, gateway(cut(2, gateway(cut(3, far))))),
		"channel": overChannels(t, cuttest.New(t, far, randomCuts(4, 100_000, hardCuts...)).URL()),
	} {
		t.Run(name, func(t *testing.T) {
			for range often(2, 50) {
				for i := range stormCommands {
					err := inStorm(i, execer)
					require.True(t, err == nil || lostBeforeItBegan(err), "command %d: %v", i, err)
				}
			}
		})
	}
}

// overChannels returns a Dialer whose connections are channels of one wsplice client.
func overChannels(t *testing.T, url string) wsep.Dialer {
	allowed, err := wsplice.ParseAllowlist("127.0.0.1")
	require.NoError(t, err)
	splice := httptest.NewServer(&wsplice.Server{Allowed: allowed})
	t.Cleanup(splice.Close)
	client, err := wsplice.Dial(t.Context(), splice.URL, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	host := strings.Replace(url, "http", "ws", 1)
	return wsep.Dialer{Dial: func(ctx context.Context) (wsep.Conn, error) {
		channel, err := client.Connect(ctx, host, nil)
		if err != nil {
			return nil, err
		}
		return channel, nil
	}}
}

// TestContractOverCutLine runs the contract over connections that are cut all the time.
func TestContractOverCutLine(t *testing.T) {
	if !longTests {
		t.Skip("takes minutes; TestStorm has a share of it")
	}
	url := serveCut(t, &wsep.Handler{})
	proxy := cuttest.New(t, url, randomCuts(5, 300_000, hardCuts...))
	execertest.Test(t, func(*testing.T) wsep.Execer { return wsep.Dialer{URL: proxy.URL()} }, nil)
	t.Logf("%d cuts of %d connections", proxy.Cuts(), proxy.Connections())
}

// TestDetachedProcessIsBounded: a process that talks on while its client is away holds its windows, and no more.
func TestDetachedProcessIsBounded(t *testing.T) {
	const processes, window = 8, 2 << 20
	const grace = 2 * time.Minute // No process's time may be over before it is measured.
	url := serveCut(t, &wsep.Handler{Options: &wsep.Options{ResumeTimeout: grace}})
	proxy := cuttest.New(t, url, func() cuttest.Plan { return cuttest.Plan{} })
	before := heap()
	var back atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range processes {
		p, err := wsep.Dialer{URL: proxy.URL(), Resume: grace, OnConnection: func(e wsep.ConnectionEvent) {
			if e.State == wsep.ConnectionBack {
				back.Add(1)
			}
		}}.Start(ctx, sh("yes & exec yes >&2"))
		require.NoError(t, err)
		_ = readLine(t, p.Stdout())
	}
	proxy.Stop()
	proxy.CutAll(cuttest.Reset)
	time.Sleep(time.Duration(often(2, 60)) * time.Second) // Time to grow, if anything grows.
	// Both ends are in this process, and each holds what the other has not acknowledged.
	require.Less(t, heap()-before, 2*processes*(2*window+1<<20))
	require.Zero(t, back.Load())
}
