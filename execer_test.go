//go:build !windows

package wsep_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/coderws"
	"cdr.dev/wsep/internal/sshtest"
	"cdr.dev/wsep/sshexec"
	"cdr.dev/wsep/wsplice"
)

// prepares has the contenders of this system by their names. A function runs once, and returns one that makes an Execer for each line.
var prepares = map[string]func(*testing.T) func(*testing.T) wsep.Execer{
	"`LocalExecer`": each(func(*testing.T) wsep.Execer { return wsep.LocalExecer{} }),
	"`RemoteExecer`": each(func(t *testing.T) wsep.Execer {
		return connectionPerStart{url: serve(t, wsep.LocalExecer{})}
	}),
	"`Dialer`": each(func(t *testing.T) wsep.Execer {
		return wsep.Dialer{URL: serve(t, wsep.LocalExecer{})}
	}),
	"`coderws`": each(func(t *testing.T) wsep.Execer { return coderPerStart(serveCoder(t)) }),
	"a chain of three": each(func(t *testing.T) wsep.Execer {
		inner := wsep.Dialer{URL: serve(t, wsep.LocalExecer{})}
		middle := wsep.Dialer{URL: serve(t, inner)}
		return wsep.Dialer{URL: serve(t, middle)}
	}),
	"a `wsplice` channel":         throughSplice,
	"`sshexec`: OpenSSH, dash":    overSSH(sshtest.Start),
	"`sshexec`: OpenSSH, BusyBox": overSSH(sshtest.StartBusyBox),
	"`sshexec`: dropbear":         toDropbear,
	"`sshexec` behind a WebSocket": func(t *testing.T) func(*testing.T) wsep.Execer {
		gateway := serve(t, sshexec.New(sshtest.Start(t).Dial(t))) // It has one connection for all lines.
		return func(*testing.T) wsep.Execer { return wsep.Dialer{URL: gateway} }
	},
	"a server of v0.2.4": toV024,
}

// throughSplice has a channel for each command, all through one connection.
func throughSplice(t *testing.T) func(*testing.T) wsep.Execer {
	client := dialSplice(t)
	host := strings.Replace(serve(t, wsep.LocalExecer{}), "http", "ws", 1)
	return func(*testing.T) wsep.Execer { return channelPerStart{client, host} }
}

// dialSplice returns a client of a wsplice server of the test's own.
func dialSplice(t *testing.T) *wsplice.Client {
	allowed, err := wsplice.ParseAllowlist("127.0.0.1")
	require.NoError(t, err)
	splice := httptest.NewServer(&wsplice.Server{Allowed: allowed})
	t.Cleanup(splice.Close)
	client, err := wsplice.Dial(t.Context(), splice.URL, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// overSSH has a connection for each line, to one host.
func overSSH(start func(testing.TB, ...string) *sshtest.SSHD) func(*testing.T) func(*testing.T) wsep.Execer {
	return func(t *testing.T) func(*testing.T) wsep.Execer {
		server := start(t)
		return func(t *testing.T) wsep.Execer { return sshexec.New(server.Dial(t)) }
	}
}

// toDropbear has a connection for each command. More commands on one connection may cost it: see the package sshexec.
func toDropbear(t *testing.T) func(*testing.T) wsep.Execer {
	server := sshtest.StartDropbear(t)
	return func(t *testing.T) wsep.Execer {
		r := sshexec.Redial(func(context.Context) (*ssh.Client, error) {
			return ssh.Dial("tcp", server.Address, server.ClientConfig())
		})
		t.Cleanup(func() { _ = r.Close() })
		return r
	}
}

func toV024(t *testing.T) func(*testing.T) wsep.Execer {
	program := buildV024(t, "server")
	return func(t *testing.T) wsep.Execer {
		url, _ := startV024Server(t, program)
		return wsep.Dialer{URL: url}
	}
}

// TestExecers runs the contract against every contender of this system, and compares the results with README.
func TestExecers(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	contend(t)
}

// connectionPerStart is an Execer that gives each command a RemoteExecer of its own.
type connectionPerStart struct{ url string }

// Start implements wsep.Execer.
func (c connectionPerStart) Start(ctx context.Context, command wsep.Command) (wsep.Process, error) {
	conn, _, err := websocket.Dial(ctx, c.url, nil)
	if err != nil {
		return nil, err
	}
	p, err := wsep.RemoteExecer(conn).Start(ctx, command)
	if err != nil {
		// Start refuses some commands before it touches the connection.
		_ = conn.CloseNow()
	}
	return p, err
}

// serveCoder is serve for connections of github.com/coder/websocket.
func serveCoder(t *testing.T) string {
	server := wsep.NewServer()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := coder.Accept(w, r, nil)
		if err != nil {
			return
		}
		err = coderws.Serve(r.Context(), server, conn, wsep.LocalExecer{}, nil)
		code, reason := wsep.CloseStatus(err)
		_ = conn.Close(coder.StatusCode(code), reason)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// coderPerStart is connectionPerStart with connections of github.com/coder/websocket.
type coderPerStart string

// Start implements wsep.Execer.
func (url coderPerStart) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	conn, _, err := coder.Dial(ctx, string(url), nil)
	if err != nil {
		return nil, err
	}
	p, err := coderws.RemoteExecer(conn).Start(ctx, c)
	if err != nil {
		_ = conn.CloseNow()
	}
	return p, err
}

// channelPerStart is connectionPerStart with channels of a wsplice client.
type channelPerStart struct {
	client *wsplice.Client
	url    string
}

// Start implements wsep.Execer.
func (c channelPerStart) Start(ctx context.Context, command wsep.Command) (wsep.Process, error) {
	channel, err := c.client.Connect(ctx, c.url, nil)
	if err != nil {
		return nil, err
	}
	p, err := wsep.RemoteExecerConn(channel).Start(ctx, command)
	if err != nil {
		_ = channel.CloseNow()
	}
	return p, err
}
