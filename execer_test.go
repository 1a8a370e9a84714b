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
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/coderws"
	"cdr.dev/wsep/execertest"
	"cdr.dev/wsep/internal/sshtest"
	"cdr.dev/wsep/sshexec"
	"cdr.dev/wsep/wsplice"
)

// contender is a kind of Execer that the contract is run against. It becomes a row of README's table.
type contender struct {
	name string // as README calls it
	// prepare runs once. It returns a function that makes an Execer for each line.
	prepare func(*testing.T) func(*testing.T) wsep.Execer
	except  execertest.Exclusions
}

var contenders = []contender{
	{"`LocalExecer`", each(func(*testing.T) wsep.Execer { return wsep.LocalExecer{} }), nil},
	{"`RemoteExecer`", each(func(t *testing.T) wsep.Execer {
		return connectionPerStart{url: serve(t, wsep.LocalExecer{})}
	}), nil},
	{"`Dialer`", each(func(t *testing.T) wsep.Execer {
		return wsep.Dialer{URL: serve(t, wsep.LocalExecer{})}
	}), nil},
	{"`coderws`", each(func(t *testing.T) wsep.Execer { return coderPerStart(serveCoder(t)) }), nil},
	{"a chain of three", each(func(t *testing.T) wsep.Execer {
		inner := wsep.Dialer{URL: serve(t, wsep.LocalExecer{})}
		middle := wsep.Dialer{URL: serve(t, inner)}
		return wsep.Dialer{URL: serve(t, middle)}
	}), nil},
	{"a `wsplice` channel", throughSplice, nil},
	{"`sshexec`: OpenSSH, dash", overSSH(sshtest.Start), nil},
	{"`sshexec`: OpenSSH, BusyBox", overSSH(sshtest.StartBusyBox), nil},
	{"`sshexec`: dropbear", overSSH(func(t testing.TB, _ ...string) *sshtest.SSHD { return sshtest.StartDropbear(t) }), dropbearExclusions},
	{"`sshexec` behind a WebSocket", func(t *testing.T) func(*testing.T) wsep.Execer {
		gateway := serve(t, sshexec.New(sshtest.Start(t).Dial(t))) // It has one connection for all lines.
		return func(*testing.T) wsep.Execer { return wsep.Dialer{URL: gateway} }
	}, nil},
	{"a server of v0.2.4", toV024, v024Exclusions},
}

// dropbearExclusions are what dropbear can't do.
var dropbearExclusions = execertest.Exclusions{
	"Command/ArgsLong":     "short-lines",
	"Output/ReadAfterWait": "short-lines",
	// It closes the session when the process ends.
	"Output/HeldByChild": "no-held-output",
}

// v024Exclusions are what a server or the protocol of v0.2.4 can't do.
var v024Exclusions = execertest.Exclusions{
	// The server closes the connection if it can't write to stdin. While it waits to write, it reads no messages.
	"Stdin/Unread":              "no-flow-control",
	"Exit/WhileStdinStreams":    "no-flow-control",
	"Exit/StdinClosedByProgram": "no-flow-control",
	"Close/FullStdin":           "no-flow-control",
	"Cancel/FullStdin":          "no-flow-control",

	"Signal/Trap":     "no-signals",
	"Signal/Terminal": "no-signals",
	"Signal/Group":    "no-signals",

	// Close can only disconnect. Then no more messages about the command arrive.
	"Close/Trap":           "no-close",
	"Close/TrapOnTerminal": "no-close",
	"Close/UnreadOutput":   "no-close",

	// The server closes the terminal.
	"Terminal/StdinClose":        "hang-up",
	"Terminal/StdinCloseMidLine": "hang-up",

	// Its terminals take each byte of input for a character.
	"Terminal/Erase": "no-utf8-input",

	// The server kills the process or hangs up its terminal. The rest of the group goes on.
	"Close/Group":                "no-groups",
	"Close/Stubborn":             "no-groups",
	"Close/StubbornOnTerminal":   "no-groups",
	"Close/Twice":                "no-groups",
	"Cancel/Group":               "no-groups",
	"Cancel/Stubborn":            "no-groups",
	"Cancel/StubbornOnTerminal":  "no-groups",
	"Cancel/FullStdinOnTerminal": "no-groups",
	"Cancel/FullStdinStubborn":   "no-groups",
	"Cancel/AfterClose":          "no-groups",

	// The reason of a failed start is only a text.
	"StartReason/MissingInPath":     "text-only",
	"StartReason/MissingByPath":     "text-only",
	"StartReason/Directory":         "text-only",
	"StartReason/NotExecutable":     "text-only",
	"StartReason/WorkingDirMissing": "text-only",
	"StartReason/Empty":             "text-only",
	"StartReason/NULInCommand":      "text-only",
	"StartReason/NULInArgs":         "text-only",
	"StartReason/NULInEnv":          "text-only",
	"StartReason/NULInWorkingDir":   "text-only",
}

// each is for an Execer that needs no preparation.
func each(newExecer func(*testing.T) wsep.Execer) func(*testing.T) func(*testing.T) wsep.Execer {
	return func(*testing.T) func(*testing.T) wsep.Execer { return newExecer }
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

func toV024(t *testing.T) func(*testing.T) wsep.Execer {
	program := buildV024(t, "server")
	return func(t *testing.T) wsep.Execer {
		url, _ := startV024Server(t, program)
		return wsep.Dialer{URL: url}
	}
}

// TestExecers runs the contract against every contender, and compares the results with README.
func TestExecers(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	kept := newScores()
	t.Run("Contract", func(t *testing.T) {
		for _, c := range contenders {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				newExecer := c.prepare(t)
				execertest.Test(t, func(t *testing.T) wsep.Execer {
					kept.watch(t, c.name)
					return newExecer(t)
				}, c.except)
			})
		}
	})
	kept.compareWithReadme(t)
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
