package wsep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"

	"cdr.dev/wsep"
)

// limit is how long a test waits for something that has to happen. Under Wine on a busy machine a start takes a second.
const limit = time.Minute

// overBoth runs a test over a LocalExecer, and over a Dialer to a Handler with one.
func overBoth(t *testing.T, test func(t *testing.T, e wsep.Execer)) {
	t.Run("LocalExecer", func(t *testing.T) { test(t, wsep.Again{}) })
	t.Run("Dialer", func(t *testing.T) {
		server := httptest.NewServer(&wsep.Handler{Execer: wsep.Again{}})
		t.Cleanup(server.Close)
		test(t, wsep.Dialer{URL: server.URL})
	})
}

// launch starts a command. It is ended with the test, at the latest after the limit.
func launch(t *testing.T, e wsep.Execer, c wsep.Command) wsep.Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	p, err := e.Start(ctx, c)
	if err != nil {
		cancel()
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		_ = p.Wait()
	})
	return p
}

// output runs a command and returns its stdout.
func output(t *testing.T, e wsep.Execer, c wsep.Command) string {
	t.Helper()
	c.Stdin = false
	p := launch(t, e, c)
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	return string(out)
}

// readUntil reads until the output contains the text, and returns what it has read.
func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte(text)) {
		n, err := r.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			require.Contains(t, string(got), text, "before %v", err)
		}
	}
	return string(got)
}

// requireCode checks the exit code of a process that has ended, or is about to.
func requireExitCode(t *testing.T, p wsep.Process, code int) {
	t.Helper()
	exit, ok := errors.AsType[wsep.ExitError](p.Wait())
	require.True(t, ok, "%v", p.Wait())
	require.Equal(t, code, exit.ExitCode())
}

func requireSignal(t *testing.T, p wsep.Process, signal string) {
	t.Helper()
	exit, ok := errors.AsType[wsep.ExitError](p.Wait())
	require.True(t, ok, "%v", p.Wait())
	require.Equal(t, signal, exit.Signal(), "%v", exit)
	require.Equal(t, -1, exit.ExitCode())
}

// TestWindowsExit: exit codes have 32 bits.
func TestWindowsExit(t *testing.T) {
	overBoth(t, func(t *testing.T, e wsep.Execer) {
		for _, code := range []int{256, 1 << 30} {
			requireExitCode(t, launch(t, e, program(t, "exit", fmt.Sprint(code))), code)
		}
	})
}

// TestWindowsOutput reads all output after the exit.
func TestWindowsOutput(t *testing.T) {
	overBoth(t, func(t *testing.T, e wsep.Execer) {
		for range 2 {
			p := launch(t, e, program(t, "say", "last words"))
			requireExitCode(t, p, 5) // before the output is read
			for _, r := range []io.Reader{p.Stdout(), p.Stderr()} {
				got, err := io.ReadAll(r)
				require.NoError(t, err)
				require.Equal(t, "last words\n", string(got))
				_, err = r.Read(make([]byte, 1))
				require.Equal(t, io.EOF, err)
			}
		}
	})
}

// TestWindowsArgs checks the rules of CommandLineToArgvW, which Go programs follow.
func TestWindowsArgs(t *testing.T) {
	args := []string{
		"plain", "", " ", "two words", `"`, `a"b`, `\`, `a\`, `a b\`, `\"`, `a\\"b c`, `C:\dir with\trailing\`, "%PATH%", "a&b", "|", "<>", "^",
		"*", "?.go", "'", "tab\there", "Grüße, 世界 🙂", "line\nbreak",
	}
	c := program(t, "args", args...)
	want := fmt.Sprintf("%q", args)
	require.Equal(t, want, output(t, wsep.Again{}, c))
	for _, tty := range []bool{false, true} {
		file := filepath.Join(tempDir(t), "args")
		c := program(t, "argsTo", append([]string{file}, args...)...)
		c.TTY = tty
		require.NoError(t, launch(t, wsep.Again{}, c).Wait())
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, want+"\n"+want+"\n", string(got))
	}
}

// TestWindowsBatch passes arguments to a batch file that cmd.exe would interpret. None of them starts a program.
func TestWindowsBatch(t *testing.T) {
	dir := filepath.Join(tempDir(t), "a dir & more")
	require.NoError(t, os.Mkdir(dir, 0o700))
	marker := filepath.Join(dir, "marker")
	batch := filepath.Join(dir, "show.bat")
	require.NoError(t, os.WriteFile(batch, []byte("@echo off\r\necho [%1]\r\necho [%2]\r\nexit /b 7\r\n"), 0o600))
	run := func(name string, args ...string) (string, error) {
		p, err := wsep.Again{}.Start(t.Context(), wsep.Command{Command: name, Args: args})
		if err != nil {
			return "", err
		}
		out, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		return string(out), p.Wait()
	}
	for _, harmless := range []string{"a b", "a&echo.>" + marker, "a|b", "(a)", "a^b", "a>b"} {
		out, err := run(batch, harmless, "second")
		exit, ok := errors.AsType[wsep.ExitError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 7, exit.ExitCode())
		require.Equal(t, "[\""+harmless+"\"]\r\n[\"second\"]\r\n", out)
	}
	for _, name := range []string{
		batch, filepath.Join(dir, "show"), filepath.ToSlash(batch), strings.ToUpper(batch), `\\?\` + batch, `.\show`, `.\show.bat`,
		// The system takes these for the same file.
		batch + ".", batch + " ", batch + ". .", batch + `\.`, batch + `\none\..`, `.\none\..\show.bat.`,
	} {
		for _, unsafe := range []string{`"&echo.>` + marker + `&rem `, "%CMDCMDLINE:~-1%&calc", "a\nb", "a\rb", `"`} {
			c := wsep.Command{Command: name, Args: []string{unsafe}, WorkingDir: dir}
			for _, c := range []wsep.Command{c, onConsole(c)} {
				_, err := wsep.Again{}.Start(t.Context(), c)
				assert.ErrorIs(t, err, errors.ErrUnsupported, "%+v", c)
			}
		}
	}
	_, err := run(batch+"::$DATA", `"`)
	require.Error(t, err)
	require.NoFileExists(t, marker)
}

// TestWindowsBatchPassesOn: a batch file passes its arguments on to a program, which gets them as they are.
func TestWindowsBatchPassesOn(t *testing.T) {
	dir := tempDir(t)
	batch, file := filepath.Join(dir, "pass on.cmd"), filepath.Join(dir, "args")
	c := program(t, "argsTo", file)
	text := fmt.Sprintf("@\"%s\" helper argsTo \"%s\" %%*\r\n", c.Command, file)
	require.NoError(t, os.WriteFile(batch, []byte(text), 0o600))
	args := []string{`C:\a dir\`, `C:\dir\`, `\\`, "", "a&b", "last"}
	require.NoError(t, launch(t, wsep.Again{}, wsep.Command{Command: batch, Args: args}).Wait())
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	want := fmt.Sprintf("%q\n", args)
	require.Equal(t, want+want, string(got))
}

// TestWindowsSearch finds a program by its name without the extension, as PATHEXT says.
func TestWindowsSearch(t *testing.T) {
	dir := tempDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "wsep-found.cmd"), []byte("@exit /b 3\r\n"), 0o600))
	t.Setenv("PATH", dir+";"+os.Getenv("PATH"))
	for _, name := range []string{"wsep-found", "WSEP-FOUND.CMD"} {
		requireExitCode(t, launch(t, wsep.Again{}, wsep.Command{Command: name}), 3)
	}
	relative := wsep.Command{Command: `.\wsep-found`, WorkingDir: dir}
	requireExitCode(t, launch(t, wsep.Again{}, relative), 3)
	t.Setenv("PATHEXT", ".EXE")
	_, err := wsep.Again{}.Start(t.Context(), wsep.Command{Command: "wsep-found"})
	require.ErrorIs(t, err, exec.ErrNotFound)
}

// TestWindowsCurrentDir: a name alone does not start a program of the current directory, where the system would find it first.
func TestWindowsCurrentDir(t *testing.T) {
	dir := tempDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "wsep-here.cmd"), []byte("@exit /b 3\r\n"), 0o600))
	t.Chdir(dir)
	c := wsep.Command{Command: "wsep-here"}
	for _, c := range []wsep.Command{c, onConsole(c)} {
		_, err := wsep.Again{}.Start(t.Context(), c)
		require.ErrorIs(t, err, exec.ErrDot)
	}
}

// TestWindowsUnicode: text that is not UTF-8 is refused. The system would replace parts of it.
func TestWindowsUnicode(t *testing.T) {
	c := program(t, "args", "gr\xfc\xdfe")
	_, err := wsep.Again{}.Start(t.Context(), c)
	require.ErrorIs(t, err, wsep.ErrInvalidCommand)
}

// TestWindowsEnv checks that a variable of the command replaces an inherited one whose name differs in case.
func TestWindowsEnv(t *testing.T) {
	t.Setenv("WSEP_Test_Name", "inherited")
	file := filepath.Join(tempDir(t), "env")
	c := program(t, "envTo", file)
	c.Env = []string{"wsep_test_name=first", "WSEP_TEST_NAME=Grüße"}
	count := func(e wsep.Again) (found []string) {
		require.NoError(t, launch(t, e, c).Wait())
		env, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(env)) {
			if strings.HasPrefix(strings.ToUpper(line), "WSEP_TEST_NAME=") {
				found = append(found, strings.TrimSpace(line))
			}
		}
		return found
	}
	for _, c.TTY = range []bool{true, false} {
		require.Equal(t, []string{"WSEP_TEST_NAME=Grüße"}, count(wsep.Again{}))
	}
	c.Env = nil
	require.Equal(t, []string{"WSEP_Test_Name=inherited"}, count(wsep.Again{InheritEnv: &[]string{"wsep_TEST_name"}}))
	require.Empty(t, count(wsep.Again{InheritEnv: &[]string{"PATH"}}))
}

func TestWindowsDir(t *testing.T) {
	c := program(t, "dir")
	c.WorkingDir = filepath.Join(tempDir(t), "a dir; with %odd% 'name")
	require.NoError(t, os.Mkdir(c.WorkingDir, 0o700))
	require.Equal(t, c.WorkingDir, output(t, wsep.Again{}, c))
}

// TestWindowsLongPath has paths that are longer than MAX_PATH.
func TestWindowsLongPath(t *testing.T) {
	dir := tempDir(t)
	for len(dir) < 300 {
		dir = filepath.Join(dir, strings.Repeat("d", 40))
	}
	require.NoError(t, os.MkdirAll(dir, 0o700))
	t.Run("WorkingDir", func(t *testing.T) {
		for _, tty := range []bool{false, true} {
			name := fmt.Sprint("terminal-", tty)
			c := program(t, "touch", name)
			c.WorkingDir, c.TTY = dir, tty
			require.NoError(t, launch(t, wsep.Again{}, c).Wait())
			require.FileExists(t, filepath.Join(dir, name))
		}
	})
	t.Run("Program", func(t *testing.T) {
		skipOnWine(t, noLongProgram)
		c := program(t, "say", "far away")
		content, err := os.ReadFile(c.Command)
		require.NoError(t, err)
		c.Command = filepath.Join(dir, "long.exe")
		require.NoError(t, os.WriteFile(c.Command, content, 0o700))
		requireExitCode(t, launch(t, wsep.Again{}, c), 5)
	})
}

func TestWindowsStartReason(t *testing.T) {
	dir := tempDir(t)
	garbage, text := filepath.Join(dir, "garbage.exe"), filepath.Join(dir, "text")
	for _, path := range []string{garbage, text} {
		require.NoError(t, os.WriteFile(path, []byte("no program"), 0o600))
	}
	overBoth(t, func(t *testing.T, e wsep.Execer) {
		for _, bad := range []struct {
			command wsep.Command
			is      []error
			not     []error
		}{
			{wsep.Command{Command: "wsep-no-such-program"}, []error{exec.ErrNotFound, fs.ErrNotExist}, nil},
			{wsep.Command{Command: filepath.Join(dir, "missing")}, []error{exec.ErrNotFound, fs.ErrNotExist}, nil},
			{wsep.Command{Command: filepath.Join(dir, "missing.exe")}, []error{exec.ErrNotFound, fs.ErrNotExist}, nil},
			{wsep.Command{Command: filepath.Join(dir, "missing.bat")}, []error{exec.ErrNotFound, fs.ErrNotExist}, nil},
			{wsep.Command{Command: `.\missing.exe`, WorkingDir: dir}, []error{exec.ErrNotFound, fs.ErrNotExist}, nil},
			{wsep.Command{Command: `.\text`, WorkingDir: dir}, []error{fs.ErrPermission}, nil},
			{wsep.Command{Command: dir}, []error{fs.ErrPermission}, nil},
			{wsep.Command{Command: text}, []error{fs.ErrPermission}, nil},
			{wsep.Command{Command: garbage}, nil, []error{exec.ErrNotFound, fs.ErrNotExist, fs.ErrPermission}},
			{wsep.Command{Command: "cmd", WorkingDir: filepath.Join(dir, "missing")}, []error{fs.ErrNotExist}, []error{exec.ErrNotFound}},
			{wsep.Command{Command: "cmd", WorkingDir: text}, []error{wsep.ErrInvalidCommand}, []error{fs.ErrNotExist}},
			{wsep.Command{Command: "cmd", UID: 1}, []error{errors.ErrUnsupported}, nil},
		} {
			for _, c := range []wsep.Command{bad.command, onConsole(bad.command)} {
				_, err := e.Start(t.Context(), c)
				var start *wsep.StartError
				if !assert.ErrorAs(t, err, &start, "%q", c.Command) {
					continue
				}
				for _, target := range bad.is {
					assert.ErrorIs(t, err, target)
				}
				for _, target := range bad.not {
					assert.NotErrorIs(t, err, target)
				}
			}
		}
	})
}

func TestWindowsClose(t *testing.T) {
	overBoth(t, func(t *testing.T, e wsep.Execer) {
		t.Run("Asks", func(t *testing.T) {
			skipOnWine(t, noCtrlBreak)
			p := launch(t, e, program(t, "polite"))
			readUntil(t, p.Stdout(), "ready")
			require.NoError(t, p.Close())
			readUntil(t, p.Stdout(), "bye")
			requireExitCode(t, p, 5)
			require.NoError(t, p.Close())
		})
		t.Run("Kills", func(t *testing.T) {
			p := launch(t, e, program(t, "deaf"))
			readUntil(t, p.Stdout(), "ready")
			require.NoError(t, p.Close())
			requireSignal(t, p, "KILL")
		})
	})
}

func TestWindowsSignal(t *testing.T) {
	overBoth(t, func(t *testing.T, e wsep.Execer) {
		signals := []string{"KILL", "INT", "TERM"}
		if onWine {
			signals = signals[:1] // for the rest: noCtrlBreak
		}
		for _, signal := range signals {
			p := launch(t, e, program(t, "idle"))
			readUntil(t, p.Stdout(), "ready")
			signaler := p.(wsep.Signaler)
			require.ErrorIs(t, signaler.Signal(t.Context(), "NOPE"), errors.ErrUnsupported)
			require.NoError(t, signaler.Signal(t.Context(), signal))
			requireSignal(t, p, signal)
			require.ErrorIs(t, signaler.Signal(t.Context(), signal), os.ErrProcessDone)
		}
	})
	p := launch(t, wsep.Again{}, program(t, "idle"))
	require.ErrorIs(t, p.(wsep.Signaler).Signal(t.Context(), "USR1"), errors.ErrUnsupported)
}

// tempDir is like t.TempDir. Its removal may fail: Wine 8 does not delete a file as [os.RemoveAll] asks for it, and then the folder
// goes with Wine's prefix.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wsep")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

var ntQueryObject = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtQueryObject")

// handleCounts counts this process's handles by their kinds, such as Process, Job, and File, which is also a pipe. The numbers of
// handles are small multiples of 4. Wine 8's GetProcessHandleCount counts none.
func handleCounts() map[string]int {
	const (
		typeInformation = 2 // OBJECT_INFORMATION_CLASS
		maxHandle       = 1 << 13
	)
	counts := map[string]int{}
	for handle := uintptr(4); handle < maxHandle; handle += 4 {
		var info struct {
			name windows.NTUnicodeString
			rest [1024]byte
		}
		status, _, _ := ntQueryObject.Call(handle, typeInformation, uintptr(unsafe.Pointer(&info)), unsafe.Sizeof(info), 0)
		if status == 0 {
			counts[info.name.String()]++
		}
	}
	return counts
}

// TestWindowsHandles checks that commands leave no handles, however they end.
func TestWindowsHandles(t *testing.T) {
	commands := 15
	if os.Getenv("WSEP_LONG_TESTS") != "" {
		commands = 1000
	}
	var processes []wsep.Process // kept, so that the garbage collector closes no file of theirs
	run := func(times int) {
		for i := range times {
			c := program(t, "exit", "0")
			c.Stdin, c.TTY = i%2 == 0, i%3 == 0
			ctx, cancel := context.WithCancel(t.Context())
			p, err := wsep.Again{}.Start(ctx, c)
			require.NoError(t, err)
			processes = append(processes, p)
			if i%5 == 0 {
				cancel()
			}
			_ = p.Wait()
			cancel()
		}
		_, err := wsep.Again{}.Start(t.Context(), wsep.Command{Command: "wsep-no-such-program"})
		require.Error(t, err)
	}
	run(5)
	before := handleCounts()
	run(commands)
	require.NotZero(t, before["File"])
	// After the end of its context a console is closed a moment later.
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		after := handleCounts()
		for _, kind := range []string{"Process", "Job", "File"} { // The runtime makes others.
			assert.LessOrEqual(t, after[kind], before[kind], kind)
		}
	}, limit, 100*time.Millisecond)
	runtime.KeepAlive(processes)
}

func TestWindowsTerminal(t *testing.T) {
	overBoth(t, func(t *testing.T, e wsep.Execer) {
		t.Run("LastWords", func(t *testing.T) {
			p := launch(t, e, onConsole(program(t, "say", "Grüße, 世界")))
			requireExitCode(t, p, 5) // before the output is read
			got, err := io.ReadAll(p.Stdout())
			require.NoError(t, err)
			require.Contains(t, string(got), "Grüße, 世界")
		})
		t.Run("Lines", func(t *testing.T) {
			c := onConsole(program(t, "lines"))
			c.Rows, c.Cols = 30, 100
			p := launch(t, e, c)
			readUntil(t, p.Stdout(), "ready")
			typeIn(t, p, "size\r")
			readUntil(t, p.Stdout(), "30 by 100")
			if !onWine { // ResizePseudoConsole fails there: "Not implemented".
				require.NoError(t, p.Resize(t.Context(), 31, 101))
				typeIn(t, p, "size\r")
				readUntil(t, p.Stdout(), "31 by 101")
			}
			typeIn(t, p, "Grüße\r")
			readUntil(t, p.Stdout(), `got "Grüße"`)
			require.NoError(t, p.Stdin().Close())
			readUntil(t, p.Stdout(), "end of file")
			requireExitCode(t, p, 5)
		})
		t.Run("CtrlC", func(t *testing.T) {
			skipOnWine(t, noCtrlC)
			p := launch(t, e, onConsole(program(t, "polite")))
			readUntil(t, p.Stdout(), "ready")
			typeIn(t, p, "\x03")
			out, _ := io.ReadAll(p.Stdout())
			require.Contains(t, string(out), "bye", "%v", p.Wait())
			requireExitCode(t, p, 5)
		})
		t.Run("Interrupt", func(t *testing.T) {
			skipOnWine(t, noCtrlC)
			p := launch(t, e, onConsole(program(t, "polite")))
			readUntil(t, p.Stdout(), "ready")
			require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "INT"))
			readUntil(t, p.Stdout(), "bye")
			requireExitCode(t, p, 5)
		})
		t.Run("Close", func(t *testing.T) {
			p := launch(t, e, onConsole(program(t, "deaf")))
			readUntil(t, p.Stdout(), "ready")
			require.NoError(t, p.Close())
			_ = p.Wait() // Its exit code is the system's.
		})
	})
}

// typeIn writes to stdin.
func typeIn(t *testing.T, p wsep.Process, text string) {
	t.Helper()
	_, err := io.WriteString(p.Stdin(), text)
	require.NoError(t, err)
}
