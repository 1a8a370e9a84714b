package wsep_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/execertest"
	"cdr.dev/wsep/internal/cuttest"
	"cdr.dev/wsep/internal/streamtest"
	"cdr.dev/wsep/internal/wsconn"
)

// How stdin goes from a connection to a process without a copy: see conversation.takesBodies.

// minBody is so small that almost every stdin message leaves its body.
const minBody = 1

// dialBodies returns a Dialer whose messages leave their bodies from minBody on.
func dialBodies(url string) wsep.Dialer {
	return wsep.Dialer{Dial: func(ctx context.Context) (wsep.Conn, error) {
		conn, err := wsconn.Dial(ctx, url, nil, nil, nil)
		if err != nil {
			return nil, err
		}
		conn.SetMinBody(minBody)
		return conn, nil
	}}
}

// serveBodies is the server for that.
func serveBodies(t *testing.T, srv *wsep.Server) string {
	return serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := wsconn.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetMinBody(minBody)
		err = srv.ServeConn(r.Context(), conn, wsep.LocalExecer{}, nil)
		code, reason := wsep.CloseStatus(err)
		_ = conn.Close(code, reason)
	}))
}

// TestContractWithBodiesLeft runs the contract where almost every stdin message leaves its body.
func TestContractWithBodiesLeft(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	execertest.Test(t, func(t *testing.T) wsep.Execer { return dialBodies(serveBodies(t, wsep.NewServer())) }, nil)
}

// TestBodiesLeftSurviveCuts cuts connections within bodies. No byte may be lost or come twice.
func TestBodiesLeftSurviveCuts(t *testing.T) {
	t.Parallel()
	srv := wsep.NewServer()
	t.Cleanup(srv.Close)
	proxy := cuttest.New(t, serveBodies(t, srv), randomCuts(7, 300_000, hardCuts...))
	execer := dialBodies(proxy.URL())
	for range often(10, 500) {
		for _, hold := range []func(context.Context, wsep.Execer) error{holdUpload, holdEcho} {
			err := inTime(hold, execer)
			require.True(t, err == nil || lostBeforeItBegan(err), "%v", err)
		}
	}
	require.NotZero(t, proxy.Cuts())
}

// TestSlowProcessGetsAllBodies has a process that reads less fast than stdin comes, so bytes wait in memory between those that were moved.
func TestSlowProcessGetsAllBodies(t *testing.T) {
	t.Parallel()
	data := streamtest.RandomBytes(6 << 20)
	p, err := wsep.Dialer{URL: serve(t, wsep.LocalExecer{})}.Start(t.Context(), wsep.Command{
		Command: "sh", Stdin: true, Args: []string{"-c", "for i in 1 2 3; do head -c 1000000; sleep 0.1; done; cat"},
	})
	require.NoError(t, err)
	go feed(p, data) // Ends with the process.
	require.NoError(t, expectOutput(p, string(data)))
}

// TestZeroMaskIsAgreed looks at the frames with which a client sends stdin. Their masks are zero only where the server moves bodies.
func TestZeroMaskIsAgreed(t *testing.T) {
	cat := wsep.Command{Command: "cat", Stdin: true}
	for _, tc := range []struct {
		name    string
		execer  func(*testing.T) wsep.Execer
		command wsep.Command
		zero    bool
	}{
		{"pipe", localExecer, cat, true},
		{"terminal", localExecer, wsep.Command{Command: "cat", Stdin: true, TTY: true}, false},
		{"kept", localExecer, wsep.Command{ID: "id", Keep: time.Minute, Command: "cat", Stdin: true}, false},
		{"gateway", func(t *testing.T) wsep.Execer { return wsep.Dialer{URL: serveCut(t, &wsep.Handler{})} }, cat, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := serveCut(t, &wsep.Handler{Execer: tc.execer(t)})
			sent := recordSent(t, url)
			p, err := wsep.Dialer{URL: sent.url}.Start(t.Context(), tc.command)
			require.NoError(t, err)
			go func() { _, _ = io.Copy(io.Discard, p.Stdout()) }() // Ends with the process.
			for range 20 {
				_, err = p.Stdin().Write(append(make([]byte, 99_999), '\n'))
				require.NoError(t, err)
			}
			require.NoError(t, p.Stdin().Close())
			if tc.command.TTY {
				require.NoError(t, p.Close())
				require.Error(t, p.Wait())
			} else {
				require.NoError(t, p.Wait())
			}
			zero, random := sent.masks(t)
			require.Equal(t, tc.zero, zero > 0)
			require.NotZero(t, random, "small messages are masked")
		})
	}
}

func localExecer(*testing.T) wsep.Execer { return wsep.LocalExecer{} }

// TestZeroMaskEndsWithItsConversation uses a connection for a command with a pipe and then for one without.
func TestZeroMaskEndsWithItsConversation(t *testing.T) {
	url := serveCut(t, &wsep.Handler{})
	sent := recordSent(t, url)
	execer := wsep.Dialer{URL: sent.url}
	data := make([]byte, 100_000)
	upload := func(c wsep.Command) (zero int) {
		before, _ := sent.masks(t)
		p, err := execer.Start(t.Context(), c)
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, p.Stdout()) }() // Ends with the process.
		for range 10 {
			_, err = p.Stdin().Write(data)
			require.NoError(t, err)
		}
		require.NoError(t, p.Stdin().Close())
		require.NoError(t, p.Wait())
		after, _ := sent.masks(t)
		return after - before
	}
	require.NotZero(t, upload(wsep.Command{Command: "cat", Stdin: true}))
	require.Zero(t, upload(wsep.Command{ID: "id", Keep: time.Minute, Command: "cat", Stdin: true}))
	require.NotZero(t, upload(wsep.Command{Command: "cat", Stdin: true}))
	require.Equal(t, 1, sent.connections())
}

// sentBytes has what clients have sent to a server.
type sentBytes struct {
	url string
	mu  sync.Mutex
	all []*bytes.Buffer
}

// recordSent returns a record of what is sent to the server at a URL.
func recordSent(t *testing.T, url string) *sentBytes {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &sentBytes{url: "http://" + l.Addr().String()}
	var lines sync.WaitGroup
	// Ends when the listener is closed.
	lines.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _, _ = client.Close(), server.Close() })
			sent := new(bytes.Buffer)
			r.mu.Lock()
			r.all = append(r.all, sent)
			r.mu.Unlock()
			// Both end with the connection.
			lines.Go(func() { _, _ = io.Copy(client, server) })
			lines.Go(func() { _, _ = io.Copy(io.MultiWriter(server, locked{&r.mu, sent}), client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return r
}

// locked is a Writer that others look at.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (r *sentBytes) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// masks counts the frames that were sent with a mask of zero, and the others.
func (r *sentBytes) masks(t *testing.T) (zero, random int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, sent := range r.all {
		_, frames, found := bytes.Cut(sent.Bytes(), []byte("\r\n\r\n"))
		require.True(t, found)
		for len(frames) >= 14 {
			header, payload := 6, uint64(frames[1]&0x7f)
			switch payload {
			case 126:
				header, payload = 8, uint64(binary.BigEndian.Uint16(frames[2:]))
			case 127:
				header, payload = 14, binary.BigEndian.Uint64(frames[2:])
			}
			if binary.NativeEndian.Uint32(frames[header-4:]) == 0 {
				zero++
			} else {
				random++
			}
			frames = frames[min(uint64(len(frames)), uint64(header)+payload):]
		}
	}
	return zero, random
}
