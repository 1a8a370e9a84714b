//go:build !windows

package execertest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// TestHelperKeepsContract runs the contract with the helper in place of a shell. ci/windows.sh does so too.
func TestHelperKeepsContract(t *testing.T) {
	if os.Getenv("WSEP_LONG_TESTS") == "" {
		t.Skip("the same lines run with a shell; set WSEP_LONG_TESTS to run them with the helper")
	}
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	TestHelper(t, func(*testing.T) wsep.Execer { return wsep.LocalExecer{} }, Exclusions{
		// The Go runtime ignores SIGUSR1, and exits with code 2 at a SIGSEGV that another process sends.
		"Exit/Killed": "go", "Exit/SignalName": "go",
	}, self)
}
