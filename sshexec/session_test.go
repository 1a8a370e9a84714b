//go:build !windows

package sshexec

import (
	"context"
	"io"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/sshtest"
)

// TestSession checks that a session on the SSH host goes on after the WebSocket or the SSH connection is lost.
func TestSession(t *testing.T) {
	t.Parallel()
	g := newGateway(t, time.Minute) // This is longer than the host can't be reached for.
	p := g.attach(t, shell)
	typeLine(t, p, `kept=treasure; echo the-"$kept"`)
	await(t, p, "the-treasure")
	files, err := filepath.Glob(filepath.Join(g.sshd.Temp, "wsep-*-*", "screenrc"))
	require.NoError(t, err)
	require.Len(t, files, 1, "screen's files are on the host")

	require.NoError(t, p.Close())
	_ = p.Wait()
	p = g.attach(t, shell)
	typeLine(t, p, `echo still-"$kept"`)
	await(t, p, "still-treasure")

	for _, word := range []string{"again", "oncemore"} {
		g.proxy.Cut()
		requireNoExit(t, p.Wait())
		p = g.attach(t, shell)
		typeLine(t, p, `echo `+word+`-"$kept"`)
		await(t, p, word+"-treasure")
		requireOneKeeper(t, filepath.Dir(files[0]))
	}
	require.Equal(t, 1, g.server.SessionCount())
	typeLine(t, p, "exit 7")
	var exit wsep.ExitError
	require.ErrorAs(t, p.Wait(), &exit)
	require.Equal(t, 7, exit.ExitCode())
}

// TestSessionOfLostGateway checks that a session is done some time after its gateway is lost for good.
func TestSessionOfLostGateway(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	g := newGateway(t, timeout)
	p := g.attach(t, shell)
	typeLine(t, p, `echo "p"id=$$=`)
	await(t, p, "pid=")
	pid, err := strconv.Atoi(readUntil(t, p.Stdout(), '='))
	require.NoError(t, err)
	lost := time.Now()
	g.proxy.Close()
	requireNoExit(t, p.Wait())
	requireNoProcess(t, pid)
	require.GreaterOrEqual(t, time.Since(lost), timeout, "the session waits for its gateway")
}

// requireOneKeeper requires that a session has a keeper and its watcher, and nothing of a keeper that was lost.
func requireOneKeeper(t *testing.T, dir string) {
	t.Helper()
	pattern := "wsep-keeper [a-z]+ " + strings.TrimPrefix(filepath.Base(dir), "wsep-")
	require.Eventually(t, func() bool {
		out, _ := exec.Command("pgrep", "-c", "-f", pattern).Output()
		return string(out) == "2\n"
	}, testTimeout, 50*time.Millisecond)
}

// gateway is a wsep server. Its commands run on an SSH host.
type gateway struct {
	sshd   *sshtest.SSHD
	proxy  *sshtest.Proxy // between the two
	execer *Redialer
	server *wsep.Server
	client wsep.Dialer
}

func newGateway(t *testing.T, sessionTimeout time.Duration) gateway {
	t.Helper()
	if _, err := exec.LookPath("screen"); err != nil {
		t.Skip("screen is not installed")
	}
	g := gateway{sshd: sshtest.Start(t), server: wsep.NewServer()}
	g.proxy = sshtest.NewProxy(t, g.sshd.Address)
	g.execer = redialer(t, g.sshd, g.proxy)
	t.Cleanup(g.server.Close)
	srv := httptest.NewServer(&wsep.Handler{
		Execer:  g.execer,
		Server:  g.server,
		Options: &wsep.Options{SessionTimeout: sessionTimeout},
	})
	t.Cleanup(srv.Close)
	g.client = wsep.Dialer{URL: srv.URL}
	return g
}

// attach attaches to a session. It tries again while the host can't be reached.
func (g gateway) attach(t *testing.T, c wsep.Command) wsep.Process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var p wsep.Process
	var err error
	for end := time.Now().Add(testTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if p, err = g.client.Start(ctx, c); err == nil {
			return p
		}
	}
	require.NoError(t, err)
	return nil
}

// typeLine types a line.
func typeLine(t *testing.T, p wsep.Process, line string) {
	t.Helper()
	_, err := io.WriteString(p.Stdin(), line+"\r")
	require.NoError(t, err)
}

// await reads until the text comes.
func await(t *testing.T, p wsep.Process, text string) {
	t.Helper()
	stop := time.AfterFunc(testTimeout, func() { _ = p.Close() })
	defer stop.Stop()
	var got strings.Builder
	for b := make([]byte, 1); !strings.Contains(got.String(), text); {
		_, err := io.ReadFull(p.Stdout(), b)
		require.NoError(t, err, "waiting for %q, got %q", text, &got)
		got.Write(b)
	}
}
