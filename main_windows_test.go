package wsep_test

import (
	"os"
	"testing"
)

// TestMain runs the tests, or the helper program that they start: see helper.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		os.Exit(helper(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}
