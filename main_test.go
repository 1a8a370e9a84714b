//go:build !windows

package wsep_test

import (
	"testing"

	"cdr.dev/wsep/internal/leaktest"
)

// TestMain fails the package if its tests leave goroutines, descriptors or processes behind.
func TestMain(m *testing.M) { leaktest.Main(m) }
