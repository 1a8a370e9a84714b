//go:build unix

package main

import (
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for an event. On a quiet machine the event happens at once.
const patience = 20 * time.Second

// checkUsage checks the number of a command's arguments. A negative most means any.
func checkUsage(ts *testscript.TestScript, neg bool, args []string, least, most int) {
	if neg || len(args) < least || (most >= 0 && len(args) > most) {
		ts.Fatalf("wrong use of a command, see TestScript")
	}
}

// eventually polls a condition until it holds or patience is over. It reports whether it holds.
func eventually(holds func() bool) bool {
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return true
}
