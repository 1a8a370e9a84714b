package execertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strconv"
	"time"

	"golang.org/x/xerrors"
)

// init makes this program the helper, if it has been started as one.
func init() {
	actions = map[string]action{}
	for _, some := range []map[string]action{streamActions, fileActions, processActions, terminalActions} {
		maps.Copy(actions, some)
	}
	if encoded, ok := os.LookupEnv(programVariable); ok {
		os.Exit(runHelper(encoded))
	}
}

// action does a step.
type action func(*helper, step) error

// actions are all actions by their names.
var actions map[string]action

// maxRun is how long a program runs on that nothing ends.
const maxRun = time.Minute

// helper runs a program.
type helper struct {
	args     []string // $1 and following
	line     string   // what readLine has read
	dir      string   // what makeTempDir has made
	inherits program  // the steps that children also run
}

// failed is the helper's exit code for a step that it can't do.
const failed = 99

// runHelper returns the exit code.
func runHelper(encoded string) int {
	_ = os.Unsetenv(programVariable)
	openConsole()
	var p program
	err := json.Unmarshal([]byte(encoded), &p)
	if err == nil {
		h := &helper{args: os.Args[1:]}
		err = h.run(p)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return failed
	}
	return 0
}

func (h *helper) run(p program) error {
	for _, s := range p {
		act := actions[s.Action]
		if act == nil {
			return xerrors.Errorf("the helper has no action %q", s.Action)
		}
		if err := act(h, s); err != nil {
			return xerrors.Errorf("%s: %w", s.Action, err)
		}
	}
	return nil
}

// arg returns the argument whose number is a word of the step.
func (h *helper) arg(s step, word int) string { return h.args[s.number(word)-1] }

// number returns a word as a number.
func (s step) number(word int) int {
	n, err := strconv.Atoi(s.Words[word])
	if err != nil {
		panic(err) // The suite has made it.
	}
	return n
}
