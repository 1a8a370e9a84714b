//go:build linux

package wsep_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
	"cdr.dev/wsep/internal/timetest"
)

// How a lost connection can fail to come back: by name, in time, and without anything that runs twice.

// TestKeysAreInNoLog: who has a key has the process. Whatever becomes of it, the log at its most talkative has neither the key nor
// the hash by which the server knows it.
func TestKeysAreInNoLog(t *testing.T) {
	t.Parallel()
	opts, log := logTo()
	url := serveCut(t, &wsep.Handler{Options: opts})
	holdOnTheWire(t, url, (*rawClient).drop)
	for _, message := range []string{
		startWith(testKey(1), 60, "true"),                      // The key was used before.
		resumeWith(testKey(1), 1<<40),                          // It is over, and the offset is wrong.
		strings.Replace(resumeWith(testKey(1), 0), "A", "", 1), // It is no key.
		startWith(testKey(2), 60, "echo hi; exit 3"),
		resumeWith(testKey(2), 1<<40),
	} {
		c := dialRaw(t, url)
		c.send(message)
		_, _ = c.read()
		c.drop()
	}
	require.Eventually(t, func() bool { return strings.Count(log.String(), "connection ended") >= 5 }, patience, time.Millisecond)
	for n := range byte(3) {
		key := testKey(n)
		bytes, err := base64.RawURLEncoding.DecodeString(key)
		require.NoError(t, err)
		hash := sha256.Sum256(bytes)
		for _, secret := range []string{
			key, key[1:], fmt.Sprintf("%x", bytes), fmt.Sprint(bytes), fmt.Sprintf("%x", hash), fmt.Sprint(hash),
			base64.RawURLEncoding.EncodeToString(hash[:]), base64.StdEncoding.EncodeToString(hash[:]),
		} {
			require.NotContains(t, log.String(), strings.Trim(secret, "[]"))
		}
	}
}

func TestResumeOnTheWire(t *testing.T) {
	t.Parallel()
	holdOnTheWire(t, serve(t, wsep.LocalExecer{}), (*rawClient).drop)
}

// TestExitIsToldAgain: the output goes on after the exit. The client may not have heard of the exit when its connection is lost.
func TestExitIsToldAgain(t *testing.T) {
	url := serve(t, wsep.LocalExecer{})
	goOn := filepath.Join(t.TempDir(), "on")
	c := dialRaw(t, url)
	c.send(startWith(testKey(1), 60, "{ until [ -e "+goOn+" ]; do sleep 0.02; done; echo late; } & exit 3"))
	c.next("pid")
	for range 2 {
		exit := c.next("exit_code")
		require.Equal(t, 3, exit.ExitCode)
		require.True(t, exit.Pending)
		c.drop()
		c = dialRaw(t, url)
		c.send(resumeWith(testKey(1), 0))
		c.next("resumed")
	}
	require.Equal(t, 3, c.next("exit_code").ExitCode)
	require.NoError(t, os.WriteFile(goOn, nil, 0o600))
	require.Equal(t, "late\n", c.next("stdout").body)
	c.next("end")
	c.leave()
}

// TestLateStart: a client asks for a conversation whose start is still under way. The start then starts nothing.
func TestLateStart(t *testing.T) {
	url := serve(t, wsep.LocalExecer{})
	late := dialRaw(t, url)
	answer := refused(t, url, resumeMarked(testKey(1), 0, late.mark))
	require.Equal(t, "unknown", answer.Kind)
	require.True(t, answer.Never)
	ran := filepath.Join(t.TempDir(), "ran")
	late.send(startWith(testKey(1), 60, "touch "+ran))
	require.Equal(t, "invalid", late.next("start_error").Kind)
	require.NoFileExists(t, ran)
}

// TestNeverIsNotSaidLightly: the server promises that a command was not started only to a client whose start would have come
// to this server.
func TestNeverIsNotSaidLightly(t *testing.T) {
	owned := func(r *http.Request) (string, error) { return r.URL.Query().Get("owner"), nil }
	url, other := newServer(t, &wsep.Handler{Authorize: owned}), newServer(t, &wsep.Handler{Authorize: owned})
	mark := dialRaw(t, url).mark
	require.NotEmpty(t, mark)
	for i, tc := range []struct {
		mark  string
		never bool
	}{
		{mark, true},
		{"", false},
		{"nonsense", false},
		{strings.Split(mark, ".")[0], false},
		{strings.Split(mark, ".")[0] + ".x", false},
		{dialRaw(t, other).mark, false},
		{dialRaw(t, url+"?owner=another").mark, false},
	} {
		require.Equal(t, tc.never, refused(t, url, resumeMarked(testKey(byte(i+1)), 0, tc.mark)).Never, "mark %q", tc.mark)
	}
}

// TestEndedCommandIsRemembered: a command has run, though its client does not know.
func TestEndedCommandIsRemembered(t *testing.T) {
	srv := wsep.NewServer()
	url := newServer(t, &wsep.Handler{Server: srv})
	c := dialRaw(t, url)
	c.send(startWith(testKey(99), 60, "read line"))
	c.next("pid")
	c.drop()
	var answer message
	require.Eventually(t, func() bool {
		srv.Close()
		again := dialRaw(t, url)
		defer again.drop()
		again.send(resumeMarked(testKey(99), 0, c.mark))
		answer, _ = again.read()
		return answer.Type == "resume_error"
	}, patience, 10*time.Millisecond)
	require.False(t, answer.Never)
}

// TestStartWithoutResumeIsRemembered: a client that has lost pid does not know that the server does not wait for it. The
// command must not run again.
func TestStartWithoutResumeIsRemembered(t *testing.T) {
	url := newServer(t, &wsep.Handler{Options: &wsep.Options{ResumeTimeout: -1}})
	c := dialRaw(t, url)
	c.send(startWith(testKey(1), 60, "true"))
	c.next("pid")
	c.drop()
	answer := refused(t, url, resumeMarked(testKey(1), 0, c.mark))
	require.Equal(t, "unknown", answer.Kind)
	require.False(t, answer.Never)
}

// TestStartBehindBalancer: the start has reached one server, and its answer is lost. The client comes back to the other.
func TestStartBehindBalancer(t *testing.T) {
	t.Parallel()
	runs := filepath.Join(t.TempDir(), "runs")
	urls := [2]string{serveCut(t, &wsep.Handler{}), serveCut(t, &wsep.Handler{})}
	var turn atomic.Int32
	balanced := func() string { return urls[(turn.Add(1)-1)%2] }
	// Each pid is lost, but the handshake is not.
	proxy := cuttest.NewTo(t, balanced, cutFirst(cuttest.Plan{How: cuttest.Reset}))
	_, err := wsep.Dialer{URL: proxy.URL()}.Start(t.Context(), sh("echo x >>"+runs+"; read line"))
	require.ErrorIs(t, err, wsep.ErrResumeFailed)
	require.NotErrorAs(t, err, new(*wsep.StartError), "it may have started")
	require.EqualValues(t, 2, proxy.Connections())
	require.Eventually(t, func() bool { return fileHas(runs, "x\n") }, patience, 10*time.Millisecond)
}

func fileHas(path, content string) bool {
	got, err := os.ReadFile(path)
	return err == nil && string(got) == content
}

// TestSecondClientTakesOver: nothing of the first counts any more, and it is told so.
func TestSecondClientTakesOver(t *testing.T) {
	t.Parallel()
	url := serve(t, wsep.LocalExecer{})
	first := dialRaw(t, url)
	first.send(startWith(testKey(1), 60, "read line; echo got $line"))
	first.next("pid")
	second := dialRaw(t, url)
	began := time.Now()
	second.send(resumeWith(testKey(1), 0))
	second.next("resumed")
	require.Less(t, time.Since(began), 3*time.Second, "the first does not answer, and is not waited for")
	code, _ := first.closed()
	require.EqualValues(t, 4001, code)
	second.send(`{"type":"stdin"}` + "\nmine\n")
	_, stdout := second.result()
	require.Equal(t, "got mine\n", stdout)
	second.leave()
}

// TestLateAttempt: a connection that its client has given up carries a resume late. It does not get the conversation.
func TestLateAttempt(t *testing.T) {
	url := serve(t, wsep.LocalExecer{})
	first := dialRaw(t, url)
	first.send(startWith(testKey(1), 60, "read line; echo got $line"))
	first.next("pid")
	first.drop()
	attempt := func(n int) string {
		return strings.Replace(resumeWith(testKey(1), 0), `"stdout"`, fmt.Sprintf(`"attempt":%d,"stdout"`, n), 1)
	}
	second := dialRaw(t, url)
	second.send(attempt(2))
	second.next("resumed")
	require.Equal(t, "taken", refused(t, url, attempt(1)).Kind)
	require.Equal(t, "taken", refused(t, url, attempt(2)).Kind)
	second.send(`{"type":"stdin"}` + "\nmine\n")
	_, stdout := second.result()
	require.Equal(t, "got mine\n", stdout)
	second.leave()
}

// TestStartThatMayHaveStarted: a gateway does not know whether the command has started, and its answer is lost. The command
// must not be started again.
func TestStartThatMayHaveStarted(t *testing.T) {
	for err, never := range map[error]bool{
		&wsep.StartError{Err: errors.New("no")}: true,
		wsep.ErrDisconnected:                    false,
		errors.New("who knows"):                 false,
	} {
		url := serve(t, refusing{err})
		c := dialRaw(t, url)
		c.send(startWith(testKey(1), 60, "true"))
		c.next("start_error")
		require.Equal(t, never, refused(t, url, resumeMarked(testKey(1), 0, c.mark)).Never, "%v", err)
	}
}

func TestKeyBelongsToItsOwner(t *testing.T) {
	t.Parallel()
	url := newServer(t, &wsep.Handler{Authorize: func(r *http.Request) (string, error) { return r.URL.Query().Get("owner"), nil }})
	c := dialRaw(t, url+"?owner=a")
	c.send(startWith(testKey(1), 60, "read line"))
	c.next("pid")
	require.Equal(t, "permission", refused(t, url+"?owner=b", resumeWith(testKey(1), 0)).Kind)
	require.Equal(t, "gap", refused(t, url+"?owner=a", resumeWith(testKey(1), 1000)).Kind)
	c = dialRaw(t, url+"?owner=a")
	c.send(resumeWith(testKey(1), 0))
	c.next("resumed")
	c.leave()
}

// TestGraceExpires: when nobody has come back in time, the process is ended, and a client that comes later is told.
func TestGraceExpires(t *testing.T) {
	t.Parallel()
	srv := wsep.NewServer()
	url := newServer(t, &wsep.Handler{Server: srv, Options: &wsep.Options{ResumeTimeout: time.Second}})
	proxy := cuttest.New(t, url, func() cuttest.Plan { return cuttest.Plan{} })
	var lost sync.Once
	began := make(chan time.Time, 1)
	p, err := wsep.Dialer{URL: proxy.URL(), OnConnection: func(wsep.ConnectionEvent) {
		lost.Do(func() {
			began <- time.Now()
			proxy.Stop()
		})
	}}.Start(t.Context(), sh("echo $$; exec sleep 1000"))
	require.NoError(t, err)
	pids := readPids(t, readLine(t, p.Stdout()))
	proxy.CutAll(cuttest.Reset)
	err = p.Wait()
	require.ErrorIs(t, err, wsep.ErrResumeFailed)
	require.ErrorIs(t, err, wsep.ErrDisconnected)
	require.GreaterOrEqual(t, time.Since(timetest.Receive(t, began)), time.Second, "the server has granted a second")
	_, err = io.ReadAll(p.Stdout())
	require.ErrorIs(t, err, wsep.ErrResumeFailed)
	requireGone(t, patience, pids)
}

// TestServerWithoutResume: a lost connection ends the process, as ever.
func TestServerWithoutResume(t *testing.T) {
	for name, d := range map[string]wsep.Dialer{
		"the server grants none":   {URL: newServer(t, &wsep.Handler{Options: &wsep.Options{ResumeTimeout: -1}})},
		"the client wants none":    {URL: serve(t, wsep.LocalExecer{}), Resume: -1},
		"too many are promised it": {URL: serveCut(t, &wsep.Handler{Options: &wsep.Options{MaxDetached: 1}})},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "too many") {
				first := dialRaw(t, d.URL)
				first.send(startWith(testKey(1), 60, "sleep 1000"))
				first.next("pid")
				first.drop()
				require.Eventually(t, func() bool {
					c := dialRaw(t, d.URL)
					defer c.leave()
					c.send(startWith(testKey(byte(time.Now().UnixNano())), 60, "true"))
					return c.next("pid").Extensions["resume"] == nil
				}, patience, 10*time.Millisecond)
			}
			proxy := cuttest.New(t, d.URL, func() cuttest.Plan { return cuttest.Plan{} })
			d.URL = proxy.URL()
			p, err := d.Start(t.Context(), sh("echo $$; exec sleep 1000"))
			require.NoError(t, err)
			pids := readPids(t, readLine(t, p.Stdout()))
			proxy.CutAll(cuttest.Reset)
			err = p.Wait()
			require.ErrorIs(t, err, wsep.ErrDisconnected)
			require.NotErrorIs(t, err, wsep.ErrResumeFailed)
			requireGone(t, patience, pids)
		})
	}
}

// TestServerRestarts: a new server does not know the conversation, and the command does not run a second time.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	runs := filepath.Join(t.TempDir(), "runs")
	one := serveCut(t, &wsep.Handler{})
	var target atomic.Value
	target.Store(one)
	proxy := cuttest.NewTo(t, func() string { return target.Load().(string) }, func() cuttest.Plan { return cuttest.Plan{} })
	p, err := wsep.Dialer{URL: proxy.URL()}.Start(t.Context(), sh("echo x >>"+runs+"; echo ready; exec sleep 1000"))
	require.NoError(t, err)
	require.Equal(t, "ready", readLine(t, p.Stdout()))
	target.Store(newServer(t, &wsep.Handler{}))
	proxy.CutAll(cuttest.Reset)
	require.ErrorIs(t, p.Wait(), wsep.ErrResumeFailed)
	content, err := os.ReadFile(runs)
	require.NoError(t, err)
	require.Equal(t, "x\n", string(content))
}

// TestServerClosesWithDetachedProcess: the process ends with its server.
func TestServerClosesWithDetachedProcess(t *testing.T) {
	srv := wsep.NewServer()
	c := dialRaw(t, newServer(t, &wsep.Handler{Server: srv}))
	c.send(startWith(testKey(1), 60, "echo $$; exec sleep 1000"))
	c.next("pid")
	pids := readPids(t, strings.TrimSpace(c.next("stdout").body))
	c.drop()
	require.Eventually(t, func() bool {
		srv.Close()
		return !alive(pids[0])
	}, patience, 10*time.Millisecond)
}

// TestHandlersContextEndsDetachedProcess: so does the end of the context that its connection had.
func TestHandlersContextEndsDetachedProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &wsep.Handler{Execer: wsep.LocalExecer{}}
	url := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r.WithContext(ctx)) }))
	c := dialRaw(t, url)
	c.send(startWith(testKey(1), 60, "echo $$; exec sleep 1000"))
	c.next("pid")
	pids := readPids(t, strings.TrimSpace(c.next("stdout").body))
	c.drop()
	cancel()
	requireGone(t, patience, pids)
}

// TestShutdownIsFinal: a client whose server shuts down does not wait for another one.
func TestShutdownIsFinal(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &wsep.Handler{Execer: wsep.LocalExecer{}}
	url := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r.WithContext(ctx)) }))
	var tried atomic.Bool
	p, err := wsep.Dialer{URL: url, OnConnection: func(wsep.ConnectionEvent) { tried.Store(true) }}.
		Start(t.Context(), sh("echo ready; exec sleep 1000"))
	require.NoError(t, err)
	require.Equal(t, "ready", readLine(t, p.Stdout()))
	cancel()
	require.ErrorIs(t, p.Wait(), wsep.ErrDisconnected)
	_, err = io.ReadAll(p.Stdout())
	require.ErrorIs(t, err, wsep.ErrDisconnected)
	require.False(t, tried.Load())
}

// TestCancelWhileDisconnected: a caller does not wait for a connection that does not come.
func TestCancelWhileDisconnected(t *testing.T) {
	proxy := cuttest.New(t, serve(t, wsep.LocalExecer{}), func() cuttest.Plan { return cuttest.Plan{} })
	ctx, cancel := context.WithCancel(t.Context())
	retrying := make(chan struct{}, 100)
	p, err := wsep.Dialer{URL: proxy.URL(), Resume: 2 * time.Second, OnConnection: func(e wsep.ConnectionEvent) {
		if e.State == wsep.ConnectionRetrying {
			retrying <- struct{}{}
		}
	}}.Start(ctx, wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	proxy.Stop()
	proxy.CutAll(cuttest.Close)
	timetest.Receive(t, retrying)
	_, err = p.Stdin().Write([]byte("kept for later"))
	require.NoError(t, err)
	require.NoError(t, p.(wsep.Signaler).Signal(ctx, "CONT"))
	require.NoError(t, p.Stdin().Close())
	cancel()
	require.ErrorIs(t, p.Wait(), context.Canceled)
}

// TestCancelWithoutConnection: the server is told when the line is whole again, and does not keep the process for the whole
// time that it granted.
func TestCancelWithoutConnection(t *testing.T) {
	url := serve(t, wsep.LocalExecer{})
	var cut atomic.Bool
	tried := make(chan struct{}, 1000)
	proxy := cuttest.NewTo(t, func() string {
		if !cut.Load() {
			return url
		}
		tried <- struct{}{}
		return "http://127.0.0.1:1"
	}, func() cuttest.Plan { return cuttest.Plan{} })
	ctx, cancel := context.WithCancel(t.Context())
	p, err := wsep.Dialer{URL: proxy.URL()}.Start(ctx, sh("echo $$; exec sleep 1000"))
	require.NoError(t, err)
	pids := readPids(t, readLine(t, p.Stdout()))
	cut.Store(true)
	proxy.CutAll(cuttest.Reset)
	timetest.Receive(t, tried)
	cancel()
	require.ErrorIs(t, p.Wait(), context.Canceled)
	require.True(t, alive(pids[0]))
	timetest.Receive(t, tried)
	cut.Store(false)
	requireGone(t, 10*time.Second, pids)
}

// TestCloseWhileDisconnected: a process has exited well, but its output is kept open. Its connection is lost, and the caller
// wants the rest no longer.
func TestCloseWhileDisconnected(t *testing.T) {
	t.Parallel()
	proxy := cuttest.New(t, serveCut(t, &wsep.Handler{}), func() cuttest.Plan { return cuttest.Plan{} })
	retrying := make(chan struct{}, 100)
	p, err := wsep.Dialer{URL: proxy.URL(), OnConnection: func(e wsep.ConnectionEvent) {
		if e.State == wsep.ConnectionRetrying {
			retrying <- struct{}{}
		}
	}}.Start(t.Context(), sh("sleep 1000 & echo ready"))
	require.NoError(t, err)
	require.Equal(t, "ready", readLine(t, p.Stdout()))
	require.NoError(t, p.Wait())
	proxy.Stop()
	proxy.CutAll(cuttest.Close)
	timetest.Receive(t, retrying)
	require.NoError(t, p.Close())
	_, err = io.ReadAll(p.Stdout())
	require.ErrorIs(t, err, wsep.ErrDisconnected)
	require.NoError(t, p.Wait())
}
