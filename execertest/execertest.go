// Package execertest is the contract of [wsep.Execer] as a test suite. [Test] runs it against any implementation:
//
//	func TestMyExecer(t *testing.T) {
//		execertest.Test(t, func(t *testing.T) wsep.Execer { return newMyExecer(t) }, nil)
//	}
//
// Each line of the contract is a sub-test named group/line, such as Close/Trap. [Lines] returns all names, for example
// to make a table of the results of several Execers. [Exclusions] skip lines that an Execer can't keep.
//
// The commands run sh, and need a POSIX system that also has head -c, mktemp, seq, a sleep that takes fractions, and sha256sum or
// shasum. It may be another system than the test's: the suite looks at files and processes only by commands. For a system without a
// shell there is [TestHelper]. On Windows, Test calls it.
package execertest

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// Exclusions are the lines of the contract that an Execer can't keep. The key is the name of a line or of a whole
// group, the value is the reason in one word. [Test] skips them and shows the reason.
type Exclusions map[string]string

// Test runs the contract against Execers of one kind, as sub-tests of t. It calls newExecer for every line, with the
// line's own t. newExecer returns an Execer that can start any number of commands. It uses t.Cleanup to release what it
// needs.
//
// Every wait in the suite has a limit. A test that hangs fails, with the stacks of all goroutines.
func Test(t *testing.T, newExecer func(t *testing.T) wsep.Execer, except Exclusions) {
	t.Helper()
	if runtime.GOOS != "windows" {
		test(t, newExecer, except, "")
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	test(t, newExecer, except, self)
}

// TestHelper is [Test] for a system that needs no shell. helper is the path of a program on the commands' system that imports this
// package, as a test's own binary does: see [os.Executable]. Started by the suite, such a program does what a line needs before
// its main function is called, and exits. So main can be empty if the program is made only for another machine.
func TestHelper(t *testing.T, newExecer func(t *testing.T) wsep.Execer, except Exclusions, helper string) {
	t.Helper()
	test(t, newExecer, except, helper)
}

func test(t *testing.T, newExecer func(t *testing.T) wsep.Execer, except Exclusions, helper string) {
	t.Helper()
	if err := except.check(); err != nil {
		t.Fatal(err)
	}
	for _, g := range contract {
		t.Run(g.name, func(t *testing.T) {
			for _, l := range g.lines {
				t.Run(l.name, func(t *testing.T) {
					if reason, ok := except.reason(g, l); ok {
						t.Skipf("excluded: %s", reason)
					}
					l.test(&fixture{T: t, execer: newExecer(t), helper: helper})
				})
			}
		})
	}
}

// Lines returns the names of the contract's lines, as group/line, in their order.
func Lines() []string {
	var names []string
	for _, g := range contract {
		for _, l := range g.lines {
			names = append(names, g.lineName(l))
		}
	}
	return names
}

// group has the lines of the contract on one subject.
type group struct {
	name  string
	lines []line
}

type line struct {
	name string
	test func(*fixture)
}

func (g group) lineName(l line) string { return g.name + "/" + l.name }

var contract = []group{
	{"Command", commandLines},
	{"Output", outputLines},
	{"Stdin", stdinLines},
	{"Exit", exitLines},
	{"Terminal", terminalLines},
	{"Signal", signalLines},
	{"Close", closeLines},
	{"Cancel", cancelLines},
	{"StartFailure", startFailureLines()},
	{"StartReason", startReasonLines()},
	{"Concurrent", concurrentLines},
}

// check refuses exclusions of unknown lines, and exclusions without a reason.
func (e Exclusions) check() error {
	known := map[string]bool{}
	for _, g := range contract {
		known[g.name] = true
		for _, l := range g.lines {
			known[g.lineName(l)] = true
		}
	}
	for name, reason := range e {
		if !known[name] {
			return xerrors.Errorf("excluded %q is no line of the contract", name)
		}
		if len(strings.Fields(reason)) != 1 {
			return xerrors.Errorf("reason %q to exclude %s is not one word", reason, name)
		}
	}
	return nil
}

func (e Exclusions) reason(g group, l line) (reason string, excluded bool) {
	if reason, excluded = e[g.name]; excluded {
		return reason, true
	}
	reason, excluded = e[g.lineName(l)]
	return reason, excluded
}
