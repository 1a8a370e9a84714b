package wsep_test

import (
	"bufio"
	"context"
	"errors"
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
// input ends at a Ctrl-C. kernelbase's create_process_params copies a program's path into a buffer of MAX_PATH characters.
const (
	noCtrlBreak = "Ctrl-Break is not implemented"
	noCtrlC     = "a typed Ctrl-C ends a console's input"

	noLongProgram = "CreateProcess has room for MAX_PATH characters of a program's path"
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
	case "argsTo": // writes a file: the arguments that Go's runtime finds, and those that CommandLineToArgvW finds
		found, _ := windows.DecomposeCommandLine(windows.UTF16PtrToString(windows.GetCommandLine()))
		text := fmt.Sprintf("%q\n%q\n", args[1:], found[min(4, len(found)):])
		_ = os.WriteFile(args[0], []byte(text), 0o600)
	case "touch":
		_ = os.WriteFile(args[0], nil, 0o600)
	case "say":
		fmt.Println(args[0])
		fmt.Fprintln(os.Stderr, args[0])
		return 5
	case "exit":
		code, _ := strconv.ParseUint(args[0], 10, 32)
		windows.ExitProcess(uint32(code))
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "envTo": // writes a file
		_ = os.WriteFile(args[0], []byte(strings.Join(os.Environ(), "\n")), 0o600)
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
		fmt.Fprintln(os.Stderr, startIdle())
		return 5
	case "owner": // of a command that it does not end
		self, _ := os.Executable()
		p, err := wsep.Again{}.Start(context.Background(), wsep.Command{Command: self, Args: []string{"helper", "idle"}})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(p.Pid())
		time.Sleep(time.Minute)
	case "late":
		awaitFile(args[0])
		fmt.Println("late")
	case "interrupted": // exits as a program does at a Ctrl-Break, when a file is there
		awaitFile(args[0])
		windows.ExitProcess(uint32(windows.STATUS_CONTROL_C_EXIT))
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

// startIdle starts a child that idles, and returns its number. It tries twice, as wsep.Again does.
func startIdle() int {
	self, _ := os.Executable()
	start := func() (*exec.Cmd, error) {
		cmd := exec.Command(self, "helper", "idle")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd, cmd.Start()
	}
	cmd, err := start()
	if onWine && errors.Is(err, windows.ERROR_INTERNAL_ERROR) {
		cmd, err = start()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return cmd.Process.Pid
}

func awaitFile(path string) {
	for _, err := os.Stat(path); err != nil; _, err = os.Stat(path) {
		time.Sleep(10 * time.Millisecond)
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
