//go:build !windows

package wsep_test

import (
	"flag"
	"testing"

	"cdr.dev/wsep/internal/leaktest"
)

// TestMain fails the package if its tests leave goroutines, descriptors or processes behind. Parallel tests mostly wait for
// processes. So more of them run at once than a small machine has cores, unless a flag says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}
