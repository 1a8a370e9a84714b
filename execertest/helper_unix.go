//go:build !windows

package execertest

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// signals are by the names that the suite uses.
var signals = map[string][]os.Signal{
	"INT": {syscall.SIGINT}, "TERM": {syscall.SIGTERM}, "HUP": {syscall.SIGHUP}, "USR1": {syscall.SIGUSR1},
	"WINCH": {syscall.SIGWINCH}, "KILL": {syscall.SIGKILL}, "SEGV": {syscall.SIGSEGV}, "STOP": {syscall.SIGSTOP},
}

func sendSignal(name, pid string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	return syscall.Kill(n, signals[name][0].(syscall.Signal))
}

func startChild(cmd *exec.Cmd) error { return cmd.Start() }

// openConsole is for Windows.
func openConsole() {}

// controlling is the name of the controlling terminal.
const controlling = "/dev/tty"

// stty runs stty for the terminal of stdin.
func stty(args ...string) (string, error) {
	cmd := exec.Command("stty", args...)
	cmd.Stdin = os.Stdin
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

func isTerminal(f *os.File) bool {
	cmd := exec.Command("stty", "-g")
	cmd.Stdin = f
	return cmd.Run() == nil
}

// terminalSizeNow returns rows and columns.
func terminalSizeNow() string {
	size, err := stty("size")
	if err != nil {
		return err.Error()
	}
	return size
}

func turnOffEcho() error {
	_, err := stty("-echo", "erase", "^H")
	return err
}
