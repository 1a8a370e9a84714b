//go:build !windows

package wsep_test

import (
	"os"
	"testing"
	"time"

	"cdr.dev/wsep/internal/leaktest"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// longTests is whether to run also what takes long.
var longTests = os.Getenv("WSEP_LONG_TESTS") != ""

// TestMain fails the package if its tests leave goroutines, descriptors or processes behind.
func TestMain(m *testing.M) { leaktest.Main(m) }
