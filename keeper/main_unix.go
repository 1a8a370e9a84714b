//go:build linux || darwin || freebsd

package keeper

import (
	"encoding/json"
	"fmt"
	"os"
)

// Main makes this process a keeper if an [Execer] has started it for that. Then it does not return. Otherwise it returns at once,
// and an Execer of this program can start the program again as a keeper. Call it first in main.
func Main() {
	text, ok := os.LookupEnv(variable)
	if !ok {
		mainCalled = true
		return
	}
	_ = os.Unsetenv(variable)
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s: %v\n", processName, variable, err)
		os.Exit(2)
	}
	answerFile = os.NewFile(readyFD, "answer")
	if err := s.play(); err != nil {
		answer(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// answerFile is where the program that starts a keeper waits for its answer.
var answerFile *os.File

// answer answers that program. Only the first answer counts.
func answer(text string) {
	_, _ = answerFile.WriteString(text)
	_ = answerFile.Close()
}

// play does what the role has to do.
func (s settings) play() error {
	switch s.Role {
	case roleStarter:
		leaveInherited()
		_, err := s.become(roleWatcher, nil)
		return err
	case roleWatcher:
		return s.watch()
	}
	return s.keep()
}
