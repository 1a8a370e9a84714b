package fleet_test

import (
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/etcd"
	"cdr.dev/wsep/fleet/internal/clustertest"
	"cdr.dev/wsep/internal/timetest"
)

// TestEngineDown kills all of etcd. IDs, names that a gateway knows, and commands without a name go on. New names are refused within a
// second, and nobody is declared dead. When etcd is back, all is as it was.
func TestEngineDown(t *testing.T) {
	t.Parallel()
	cluster := clustertest.New(t, 1)
	f := newNetworkOver(t, 2, func() fleet.Registry {
		// A node does not expire while a busy machine keeps it from its renewal.
		r, err := etcd.Open(etcd.Config{Endpoints: cluster.Endpoints(), TTL: time.Minute})
		require.NoError(t, err)
		t.Cleanup(func() { _ = r.Close() })
		return r
	})
	token := f.requireToken(f.as("alice", 0), shell("main"), wsep.SessionCreated)
	require.Equal(t, token, f.requireToken(f.as("alice", 1), shell("main"), wsep.SessionFound))
	claim := f.claim("alice", "main")

	cluster.Kill()
	for i, g := range f.gateways {
		for _, id := range []string{"main", claim.ID} {
			require.Equal(t, token, f.requireToken(f.as("alice", i), shell(id), wsep.SessionFound))
			require.Equal(t, token, f.requireToken(f.as("alice", i), wsep.Command{ID: id}, wsep.SessionFound))
		}
		out, err := wsep.Output(f.ctx, f.as("alice", i), wsep.Command{Command: "echo", Args: []string{"hello"}})
		require.NoError(t, err)
		require.Equal(t, "hello\n", string(out))
		for _, c := range []wsep.Command{shell("5:alice:other"), {ID: "5:alice:other"}} {
			timetest.Within(t, time.Second, func() time.Duration {
				began := time.Now()
				_, _, err := f.token(g.Execer, c)
				require.ErrorIs(t, err, fleet.ErrNoRegistry)
				require.NotErrorIs(t, err, fs.ErrNotExist)
				return time.Since(began)
			})
		}
		require.Len(t, g.View.Nodes(), 2, "a gateway that has lost the registry declares nobody dead")
	}

	cluster.Start(t)
	require.Eventually(t, func() bool { // The registry's clients connect again.
		_, _, err := f.token(f.as("alice", 0), shell("other"))
		return err == nil
	}, patience, 50*time.Millisecond)
	require.Equal(t, claim, f.claim("alice", "main"))
	require.Equal(t, token, f.requireToken(f.as("alice", 1), shell("main"), wsep.SessionFound))
}
