//go:build !windows

package wsep_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// requireSoon requires that something takes less than the limit in one of three runs. A busy machine may hold one up, and
// only slow code each.
func requireSoon(t *testing.T, limit time.Duration, run func() (took time.Duration)) {
	t.Helper()
	var all []time.Duration
	for range 3 {
		all = append(all, run())
		if all[len(all)-1] < limit {
			return
		}
	}
	require.Less(t, slices.Min(all), limit)
}

// longTests is whether to run also what takes long.
var longTests = os.Getenv("WSEP_LONG_TESTS") != ""

// TestMain fails the package if its tests leave goroutines, descriptors or processes behind.
func TestMain(m *testing.M) { leaktest.Main(m) }
