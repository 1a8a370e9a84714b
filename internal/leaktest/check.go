package leaktest

import "testing"

// Check fails a test that leaves anything behind. It looks after the cleanups that are registered later.
func Check(t testing.TB) {
	t.Helper()
	before := take()
	t.Cleanup(func() {
		if left := wait(before, patience); left != "" {
			t.Errorf("the test leaves behind:\n%s", left)
		}
	})
}
