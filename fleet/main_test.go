package fleet_test

import (
	"testing"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/keeper"
)

// TestMain makes this program a keeper, or runs the tests.
func TestMain(m *testing.M) {
	keeper.Main()
	leaktest.Main(m)
}
