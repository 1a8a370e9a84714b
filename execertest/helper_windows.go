package execertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// signals are those that programs of Windows get: Ctrl-C, Ctrl-Break, and the closing of a console.
var signals = map[string][]os.Signal{
	"INT":  {os.Interrupt},
	"TERM": {os.Interrupt, syscall.SIGTERM},
	"HUP":  {syscall.SIGTERM},
}

func sendSignal(name, pid string) error {
	return fmt.Errorf("signal %s to %s: %w", name, pid, errors.ErrUnsupported)
}

// startChild starts a child whose outputs are files. Wine 8 fails now and then to create a process, with this error. Then it is tried
// once more.
func startChild(cmd *exec.Cmd) error {
	err := cmd.Start()
	if !errors.Is(err, windows.ERROR_INTERNAL_ERROR) {
		return err
	}
	again := exec.Command(cmd.Path, cmd.Args[1:]...)
	again.Env, again.Stdout, again.Stderr = cmd.Env, cmd.Stdout, cmd.Stderr
	return again.Start()
}

// openConsole opens the console of a program that has no standard handles. Windows gives a program in a console these handles.
// Wine 8 gives none if the parent's are not a console's.
func openConsole() {
	if h, _ := windows.GetStdHandle(windows.STD_OUTPUT_HANDLE); h != 0 {
		return
	}
	if in, err := os.OpenFile(controlling, os.O_RDWR, 0); err == nil {
		os.Stdin = in
	}
	if out, err := os.OpenFile("CONOUT$", os.O_RDWR, 0); err == nil {
		os.Stdout, os.Stderr = out, out
	}
}

// controlling is the name of a program's console.
const controlling = "CONIN$"

func isTerminal(f *os.File) bool {
	var mode uint32
	return windows.GetConsoleMode(windows.Handle(f.Fd()), &mode) == nil
}

// terminalSizeNow returns rows and columns.
func terminalSizeNow() string {
	var info windows.ConsoleScreenBufferInfo
	if err := windows.GetConsoleScreenBufferInfo(windows.Handle(os.Stdout.Fd()), &info); err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.Window.Bottom-info.Window.Top+1, info.Window.Right-info.Window.Left+1)
}

func turnOffEcho() error {
	in := windows.Handle(os.Stdin.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(in, &mode); err != nil {
		return err
	}
	return windows.SetConsoleMode(in, mode&^windows.ENABLE_ECHO_INPUT)
}
