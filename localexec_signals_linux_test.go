package wsep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// underSignals is set for a test program that runs as a server with ignored or blocked signals.
const underSignals = "WSEP_TEST_UNDER_SIGNALS"

// The main of a test program would handle some signals.
func init() {
	if os.Getenv(underSignals) == "" {
		return
	}
	if err := serveUnderSignals(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestCommandsStartWithDefaultSignals starts servers that ignore or block signals, and checks their commands' signals.
func TestCommandsStartWithDefaultSignals(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	server := func(script string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", script+`exec "$0"`, self)
		cmd.Env = append(os.Environ(), underSignals+"=1")
		return cmd
	}
	t.Run("as they are", func(t *testing.T) {
		out, err := server("").CombinedOutput()
		require.NoError(t, err, string(out))
	})
	t.Run("ignored", func(t *testing.T) {
		out, err := server(`trap "" HUP INT QUIT TERM PIPE TSTP TTIN TTOU CONT USR1 ALRM XCPU VTALRM; `).CombinedOutput()
		require.NoError(t, err, string(out))
	})
	t.Run("by nohup", func(t *testing.T) {
		out, err := server(`nohup sh -c 'exec "$0"' "$0"; exit; `).CombinedOutput()
		require.NoError(t, err, string(out))
	})
	t.Run("in the background of a script", func(t *testing.T) {
		out, err := server(`"$0" & wait $!; exit; `).CombinedOutput()
		require.NoError(t, err, string(out))
	})
	t.Run("blocked", func(t *testing.T) {
		var blocked, mask unix.Sigset_t
		blocked.Val[0] = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGTERM-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGUSR2-1)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		require.NoError(t, unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, &mask))
		defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil) }()
		out, err := server("").CombinedOutput()
		require.NoError(t, err, string(out))
	})
}

// serveUnderSignals starts commands and checks which signals they ignore and block. It does not change this process.
func serveUnderSignals() error {
	before := signalState("/proc/self/status")
	hup, ctrlC := signal.Ignored(syscall.SIGHUP), signal.Ignored(syscall.SIGINT)
	if err := startMany(); err != nil {
		return err
	}
	if hup != signal.Ignored(syscall.SIGHUP) || ctrlC != signal.Ignored(syscall.SIGINT) {
		return errors.New("signal.Ignored says something else")
	}
	if after := signalState("/proc/self/status"); before != after {
		return fmt.Errorf("server had\n%sand has\n%s", before, after)
	}
	if hup {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil { // It must not end this process.
			return err
		}
	}
	return programsOwn()
}

// programsOwn checks that the program's own signal handling still works.
func programsOwn() error {
	signal.Ignore(syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGTSTP)
	if err := startMany(); err != nil {
		return err
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGTSTP} {
		if ignored, _ := systemIgnores(); !signal.Ignored(sig) || !ignored.has(sig) {
			return fmt.Errorf("signal %d is not ignored any more", sig)
		}
	}

	// It gets the signals that it asks for while a command starts.
	asked := make(chan os.Signal, 1)
	heeded.begin(nil)
	signal.Notify(asked, syscall.SIGHUP)
	heeded.end()
	if err := startMany(); err != nil {
		return err
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		return err
	}
	<-asked
	return nil
}

// startMany starts commands, some at the same time.
func startMany() error {
	errs := make([]error, 4)
	var starting sync.WaitGroup
	for i := range errs {
		starting.Go(func() {
			for range 2 {
				errs[i] = errors.Join(errs[i], startDefault(i%2 == 0))
			}
		})
	}
	starting.Wait()
	return errors.Join(errs...)
}

// startDefault starts a command that prints its ignored and blocked signals. It must have none.
func startDefault(tty bool) error {
	c := Command{Command: "grep", Args: []string{"-E", "^Sig(Blk|Ign)", "/proc/self/status"}, TTY: tty}
	p, err := LocalExecer{}.Start(context.Background(), c)
	if err != nil {
		return err
	}
	out, err := io.ReadAll(p.Stdout())
	if err != nil {
		return err
	}
	const none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
	if got := strings.ReplaceAll(string(out), "\r", ""); got != none {
		return fmt.Errorf("with a terminal %t:\n%s", tty, got)
	}
	return p.Wait()
}

// signalState returns the signals that a process blocks and ignores.
func signalState(status string) (state string) {
	text, _ := os.ReadFile(status)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "SigBlk") || strings.HasPrefix(line, "SigIgn") {
			state += line
		}
	}
	return state
}
