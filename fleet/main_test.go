package fleet_test

import (
	"testing"

	"cdr.dev/wsep/fleet/internal/clustertest"
	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/keeper"
)

// TestMain makes this program a keeper or a member of etcd, or runs the tests.
func TestMain(m *testing.M) {
	keeper.Main()
	clustertest.Main()
	leaktest.Main(m)
}
