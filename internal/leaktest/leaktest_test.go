package leaktest

import (
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

// TestPanics has the handlers of servers panic. The log of a server that was not given one is the program's.
func TestPanics(t *testing.T) {
	for _, logger := range []*log.Logger{nil, log.New(OnlyPanics, "", 0)} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("in a test") }))
		server.Config.ErrorLog = logger
		server.Start()
		_, err := http.Get(server.URL)
		require.Error(t, err)
		server.Close()
		require.True(t, panicked.Swap(false))
	}
	log.Print("no panic")
	require.False(t, panicked.Load())
}

// TestFinds leaves one resource behind at a time. It must be found until it is released.
func TestFinds(t *testing.T) {
	short := 50 * time.Millisecond
	leak := func(name string, begin func(t *testing.T) (want string, end func())) {
		t.Run(name, func(t *testing.T) {
			before := take()
			require.Empty(t, wait(before, patience))
			want, end := begin(t)
			left := wait(before, short)
			end()
			require.Contains(t, left, want)
			require.Empty(t, wait(before, patience))
		})
	}
	leak("Goroutine", func(*testing.T) (string, func()) {
		stop := make(chan struct{})
		go func() { <-stop }()
		return "leaktest.TestFinds", func() { close(stop) }
	})
	if runtime.GOOS != "linux" {
		return // The rest is checked on Linux only.
	}
	leak("Descriptor", func(t *testing.T) (string, func()) {
		f, err := os.Open(os.DevNull)
		require.NoError(t, err)
		return os.DevNull, func() { _ = f.Close() }
	})
	leak("Child", func(t *testing.T) (string, func()) {
		cmd := exec.Command("sleep", "60")
		require.NoError(t, cmd.Start())
		return "sleep 60", func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	leak("Unreaped", func(t *testing.T) (string, func()) {
		cmd := exec.Command("true")
		require.NoError(t, cmd.Start())
		return strconv.Itoa(cmd.Process.Pid), func() { _ = cmd.Wait() }
	})
	leak("Orphan", func(t *testing.T) (string, func()) {
		out, err := exec.Command("sh", "-c", "sleep 61 >/dev/null 2>&1 & echo $!").Output()
		require.NoError(t, err)
		return "sleep 61", func() { require.NoError(t, exec.Command("sh", "-c", "kill -9 "+string(out)).Run()) }
	})
}

// TestHeed starts a process after a signal was ignored.
func TestHeed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals")
	}
	signal.Ignore(syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	heed()
	out, err := exec.Command("sh", "-c", "trap 'echo heeded' HUP; kill -HUP $$").Output()
	require.NoError(t, err)
	require.Equal(t, "heeded\n", string(out))
}
