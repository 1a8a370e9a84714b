package wsep_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"

	"cdr.dev/wsep"
)

// onWine says whether the tests run under Wine. It exports a function that Windows has not.
var onWine = windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil

// These are limits of Wine 8. wineserver answers a Ctrl-Break with STATUS_NOT_IMPLEMENTED. The console host's thread that reads the
// input ends at a Ctrl-C.
const (
	noCtrlBreak = "Ctrl-Break is not implemented"
	noCtrlC     = "a typed Ctrl-C ends a console's input"
)

// skipOnWine skips a test of what Wine 8 can't do.
func skipOnWine(t *testing.T, reason string) {
	t.Helper()
	if onWine {
		t.Skip("Wine 8: " + reason)
	}
}

// program returns the command that runs the helper program.
func program(t *testing.T, name string, args ...string) wsep.Command {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return wsep.Command{Command: self, Args: append([]string{"helper", name}, args...), Stdin: true}
}

// onConsole returns the command with a terminal.
func onConsole(c wsep.Command) wsep.Command {
	c.TTY = true
	return c
}

// helper is the program that the tests start. It returns its exit code.
func helper(name string, args []string) int {
	openConsole()
	switch name {
	case "args":
		fmt.Printf("%q", args)
	case "say":
		fmt.Println(args[0])
		fmt.Fprintln(os.Stderr, args[0])
		return 5
	case "exit":
		code, _ := strconv.ParseUint(args[0], 10, 32)
		windows.ExitProcess(uint32(code))
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "env":
		fmt.Print(strings.Join(os.Environ(), "\n"))
	case "dir":
		dir, _ := os.Getwd()
		fmt.Print(dir)
	case "idle":
		fmt.Println("ready")
		time.Sleep(time.Minute)
	case "deaf": // to all requests to exit
		signal.Ignore(os.Interrupt)
		signal.Notify(make(chan os.Signal, 1))
		fmt.Println("ready")
		time.Sleep(time.Minute)
	case "polite":
		asked := make(chan os.Signal, 1)
		signal.Notify(asked)
		fmt.Println("ready")
		<-asked
		fmt.Println("bye")
		return 5
	case "parent": // exits; its child holds the output, and goes on for a minute
		startChild("idle")
		return 5
	case "heir": // exits; its child holds the output, and writes when a file is there
		startChild("late", args...)
		fmt.Println("early")
		return 5
	case "late":
		for _, err := os.Stat(args[0]); err != nil; _, err = os.Stat(args[0]) {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("late")
	case "family": // stays, and so does its child
		startChild("idle")
		time.Sleep(time.Minute)
	case "lines": // answers each line
		lines := bufio.NewScanner(os.Stdin)
		fmt.Println("ready")
		for lines.Scan() {
			if lines.Text() == "size" {
				fmt.Println(consoleSize())
				continue
			}
			fmt.Printf("got %q\n", lines.Text())
		}
		fmt.Println("end of file")
		return 5
	default:
		return 99
	}
	return 0
}

func startChild(name string, args ...string) {
	self, _ := os.Executable()
	cmd := exec.Command(self, append([]string{"helper", name}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
	}
}

// openConsole opens the console of a program that has no standard handles. Windows gives a program in a console these handles.
// Wine 8 gives none if the parent's are not a console's.
func openConsole() {
	if h, _ := windows.GetStdHandle(windows.STD_OUTPUT_HANDLE); h != 0 {
		return
	}
	if in, err := os.OpenFile("CONIN$", os.O_RDWR, 0); err == nil {
		os.Stdin = in
	}
	if out, err := os.OpenFile("CONOUT$", os.O_RDWR, 0); err == nil {
		os.Stdout, os.Stderr = out, out
	}
}

func consoleSize() string {
	var info windows.ConsoleScreenBufferInfo
	if err := windows.GetConsoleScreenBufferInfo(windows.Handle(os.Stdout.Fd()), &info); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d by %d", info.Window.Bottom-info.Window.Top+1, info.Window.Right-info.Window.Left+1)
}
