package leaktest

import "testing"

// Check fails a test if, when all that it cleans up after this call is cleaned up, it leaves anything behind.
func Check(t testing.TB) {
	t.Helper()
	before := take()
	t.Cleanup(func() {
		if left := wait(before, patience); left != "" {
			t.Errorf("the test leaves behind:\n%s", left)
		}
	})
}
