//go:build !windows

package wsep_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog"
	"cdr.dev/slog/sloggers/sloghuman"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/streamtest"
	"cdr.dev/wsep/internal/timetest"
)

// requireServes checks that the server still runs commands.
func requireServes(t *testing.T, url string) {
	t.Helper()
	c := dialRaw(t, url)
	c.send(`{"type":"start","command":{"command":"echo","args":["fine"]}}`)
	exit, out := c.result()
	require.Zero(t, exit.ExitCode)
	require.Equal(t, "fine\n", out)
}

func TestBadInputIsClosedWithReason(t *testing.T) {
	url := newServer(t, &wsep.Handler{})

	// None of these clients may harm another client's command.
	bystander := dialRaw(t, url)
	bystander.send(startCat, "{\"type\":\"stdin\"}\nbefore ")

	for _, tc := range []struct{ name, header string }{
		{"no JSON", `start`},
		{"empty", ``},
		{"only a delimiter", "\n"},
		{"null", `null`},
		{"array", `[]`},
		{"array of a header", `[{"type":"stdin"}]`},
		{"string", `"stdin"`},
		{"no type", `{}`},
		{"type null", `{"type":null}`},
		{"type empty", `{"type":""}`},
		{"type number", `{"type":1}`},
		{"type object", `{"type":{"type":"stdin"}}`},
		{"cut short", `{"type":"stdin"`},
		{"NUL", "\x00"},
		{"not UTF-8", "\xff\xfe{}"},
		{"60,000 brackets", strings.Repeat("[", 60000)},
		{"60,000 nested brackets in a field", `{"type":"stdin","x":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + `}`},
		{"rows too large", `{"type":"resize","rows":70000,"cols":80}`},
		{"rows negative", `{"type":"resize","rows":-1,"cols":80}`},
		{"rows fraction", `{"type":"resize","rows":1.5,"cols":80}`},
		{"signal number", `{"type":"signal","signal":9}`},
		{"ack of what was not sent", `{"type":"ack","stdout":1000000}`},
		{"ack negative", `{"type":"ack","stdout":-1}`},
		{"second start", startCat},
	} {
		t.Run("after start/"+tc.name, func(t *testing.T) {
			c := dialRaw(t, url)
			// A careless decoder would remember the type of the stdin message.
			c.send(startCat, "{\"type\":\"stdin\"}\nx", tc.header+"\nbody")
			code, reason := c.closed()
			require.Equal(t, websocket.StatusProtocolError, code, reason)
		})
		if tc.name == "second start" {
			continue
		}
		t.Run("before start/"+tc.name, func(t *testing.T) {
			c := dialRaw(t, url)
			c.send(tc.header)
			code, reason := c.closed()
			require.Equal(t, websocket.StatusProtocolError, code, reason)
		})
	}
	for _, header := range []string{
		"{\"type\":\"stdin\"}\nx", `{"type":"stdin"}`, `{"type":"close_stdin"}`, `{"type":"resize","rows":1,"cols":1}`,
		`{"type":"ack","stdout":1}`, `{"type":"signal","signal":"INT"}`, `{"type":"close"}`,
	} {
		t.Run("before start/"+header, func(t *testing.T) {
			c := dialRaw(t, url)
			c.send(header, startCat)
			code, reason := c.closed()
			require.Equal(t, websocket.StatusProtocolError, code, reason)
		})
	}
	for _, tc := range []struct{ name, start string }{
		{"rows too large", `{"type":"start","command":{"command":"true","tty":true,"rows":70000,"cols":80}}`},
		{"cols negative", `{"type":"start","command":{"command":"true","tty":true,"rows":1,"cols":-80}}`},
		{"rows beside command too large", `{"type":"start","rows":65536,"cols":80,"command":{"command":"true","tty":true}}`},
		{"uid negative", `{"type":"start","command":{"command":"true","uid":-1}}`},
		{"args no array", `{"type":"start","command":{"command":"true","args":"x"}}`},
		{"command no object", `{"type":"start","command":"true"}`},
		{"window negative", `{"type":"start","command":{"command":"true"},"extensions":{"window":-1}}`},
		{"window useless", `{"type":"start","command":{"command":"true"},"extensions":{"window":1}}`},
		{"max_message useless", `{"type":"start","command":{"command":"true"},"extensions":{"max_message":10}}`},
		{"extensions no object", `{"type":"start","command":{"command":"true"},"extensions":[]}`},
	} {
		t.Run("start/"+tc.name, func(t *testing.T) {
			c := dialRaw(t, url)
			c.send(tc.start)
			code, reason := c.closed()
			require.Equal(t, websocket.StatusProtocolError, code, reason)
		})
	}
	bystander.send("{\"type\":\"stdin\"}\nand after", `{"type":"close_stdin"}`)
	exit, out := bystander.result()
	require.Zero(t, exit.ExitCode)
	require.Equal(t, "before and after", out)
	requireServes(t, url)
}

func TestFailedStartIsClosedWithReason(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	dir := t.TempDir()
	for _, tc := range []struct{ name, command, kind string }{
		{"missing program", `{"command":"no-such-program"}`, "not_found"},
		{"missing path", `{"command":"/no/such/program"}`, "not_found"},
		{"directory", `{"command":"` + dir + `"}`, "permission"},
		{"bad working directory", `{"command":"true","working_dir":"/no/such/dir"}`, "not_exist"},
		{"file as working directory", `{"command":"true","working_dir":"/dev/null"}`, "invalid"},
		{"no program", `{}`, "invalid"},
		{"NUL in the program", `{"command":"tr\u0000ue"}`, "invalid"},
		{"NUL in an argument", `{"command":"true","args":["a\u0000b"]}`, "invalid"},
		{"NUL in the environment", `{"command":"true","env":["A=\u0000"]}`, "invalid"},
		{"NUL in the working directory", `{"command":"true","working_dir":"/\u0000"}`, "invalid"},
		{"a long reason", `{"command":"` + strings.Repeat("é", 500) + `"}`, "not_found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dialRaw(t, url)
			c.send(`{"type":"start","command":` + tc.command + `}`)
			code, reason := c.closed()
			require.Equal(t, websocket.StatusInternalError, code)
			require.LessOrEqual(t, len(reason), 123)
			require.True(t, strings.HasPrefix(reason, "start command: "), reason)

			c = dialRaw(t, url)
			c.send(`{"type":"start","extensions":{"outcome":true},"command":` + tc.command + `}`)
			m, err := c.read()
			require.NoError(t, err)
			require.Equal(t, "start_error", m.Type)
			require.Equal(t, tc.kind, m.Kind)
			require.NotEmpty(t, m.Message)
			c.closed()
		})
	}
	requireServes(t, url)
}

func TestMessageOverLimit(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	for _, start := range []string{"", startSleep} {
		t.Run(fmt.Sprintf("started %t", start != ""), func(t *testing.T) {
			c := dialRaw(t, url)
			if start != "" {
				c.send(start)
				_, err := c.read()
				require.NoError(t, err)
			}
			// One message of 256 MiB in pieces of 1 MiB.
			w, err := c.conn.Writer(c.ctx, websocket.MessageBinary)
			require.NoError(t, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				header := `{"type":"start","command":{"command":"`
				if start != "" {
					header = "{\"type\":\"stdin\"}\n"
				}
				_, _ = io.WriteString(w, header)
				piece := make([]byte, 1<<20)
				for range 256 {
					if _, err := w.Write(piece); err != nil {
						return
					}
				}
			}()
			before := heap()
			code, _ := c.closed()
			require.Equal(t, websocket.StatusMessageTooBig, code)
			require.Less(t, heap(), before+8<<20)
			timetest.Receive(t, done)
		})
	}
	requireServes(t, url)
}

func TestUnknownIsIgnoredAndLoggedQuoted(t *testing.T) {
	var log streamtest.Buffer
	logger := slog.Make(sloghuman.Sink(&log))
	url := newServer(t, &wsep.Handler{Options: &wsep.Options{Logger: &logger}})
	c := dialRaw(t, url)
	c.send(
		`{"type":"hello\nworld\u001b[31m","x":1}`,
		`{"type":"start","future":{"a":[1]},"command":{"command":"cat","stdin":true,"future":1}}`,
		`{"type":"unheard-of"}`+"\nwith a body",
		`{"type":"pid","pid":1}`,
		"{\"type\":\"stdout\"}\nnot for a server",
		"{\"type\":\"stdin\",\"future\":1}\nserved",
		`{"type":"close_stdin"}`,
	)
	exit, out := c.result()
	require.Zero(t, exit.ExitCode)
	require.Equal(t, "served", out)
	require.Contains(t, log.String(), `hello\\nworld`)
	require.NotContains(t, log.String(), "\x1b[31m")
}

func TestTerminalSizeOnTheWire(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	for _, tc := range []struct{ name, start, want string }{
		{"in command", `"command":{"command":"stty","args":["size"],"tty":true,"rows":11,"cols":22}`, "11 22"},
		{"beside command", `"rows":33,"cols":44,"command":{"command":"stty","args":["size"],"tty":true}`, "33 44"},
		{"in command wins", `"rows":33,"cols":44,"command":{"command":"stty","args":["size"],"tty":true,"rows":1,"cols":2}`, "1 2"},
		{"none", `"command":{"command":"stty","args":["size"],"tty":true}`, "24 80"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dialRaw(t, url)
			c.send(`{"type":"start",` + tc.start + `}`)
			exit, out := c.result()
			require.Zero(t, exit.ExitCode)
			require.Equal(t, tc.want, strings.TrimSpace(out))
		})
	}
}

func TestFramesAreTakenAlike(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	c := dialRaw(t, url)
	write := func(typ websocket.MessageType, pieces ...string) {
		w, err := c.conn.Writer(c.ctx, typ)
		require.NoError(t, err)
		for _, p := range pieces {
			_, err = io.WriteString(w, p)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
	}
	write(websocket.MessageText, startCat)
	write(websocket.MessageText, "{\"type\":\"stdin\"}\ntext ")
	write(websocket.MessageBinary, "{\"type\":\"stdin\"}\nbinary ")
	write(websocket.MessageBinary, "{\"type\":", "", "\"stdin\"}\n", "in ", "pieces ")
	write(websocket.MessageBinary, "{ \"type\" : \"stdin\" }\nspaced ")
	write(websocket.MessageBinary, "{\"type\":\"stdin\"}\n") // empty, with a delimiter
	write(websocket.MessageBinary, "{\"type\":\"stdin\"}")   // and without
	write(websocket.MessageText, "{\"type\":\"close_stdin\"}\n")
	exit, out := c.result()
	require.Zero(t, exit.ExitCode)
	require.Equal(t, "text binary in pieces spaced ", out)
}

func TestBrowserTypesIntoTerminal(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	// v0.2.4's browser client has no field for stdin.
	c := dialRaw(t, url)
	c.send(`{"type":"start","id":"","rows":24,"cols":80,"command":{"command":"sh","tty":true}}`,
		"{\"type\":\"stdin\"}\nexit 9\n")
	exit, _ := c.result()
	require.Equal(t, 9, exit.ExitCode)

	// A v0.2.4 Go client always says.
	c = dialRaw(t, url)
	c.send(`{"type":"start","command":{"command":"sh","tty":true,"stdin":false}}`, "{\"type\":\"stdin\"}\nexit 9\n")
	c.closed()
}

func TestStdinAfterCloseStdin(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	c := dialRaw(t, url)
	c.send(startSleep, `{"type":"close_stdin"}`, `{"type":"close_stdin"}`, "{\"type\":\"stdin\"}\nx")
	code, _ := c.closed()
	require.Equal(t, websocket.StatusProtocolError, code)
}

func TestClientOverItsWindow(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	c := dialRaw(t, url)
	c.send(`{"type":"start","extensions":{"window":65536},"command":{"command":"sleep","args":["60"],"stdin":true}}`)
	m, err := c.read()
	require.NoError(t, err)
	window := int(m.Extensions["window"].(float64))
	piece := "{\"type\":\"stdin\"}\n" + strings.Repeat("x", 32<<10)
	const pipe = 1 << 20 // what the system keeps for the process at most
	for range (window+pipe)/(32<<10) + 8 {
		c.send(piece)
	}
	code, _ := c.closed()
	require.Equal(t, websocket.StatusProtocolError, code)
}

func TestSecondStartIsRefusedUnsent(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	require.NoError(t, err)
	execer := wsep.RemoteExecer(conn)
	p, err := execer.Start(t.Context(), wsep.Command{Command: "cat", Stdin: true})
	require.NoError(t, err)
	_, err = execer.Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorIs(t, err, wsep.ErrInUse)

	_, err = io.WriteString(p.Stdin(), "unharmed")
	require.NoError(t, err)
	require.NoError(t, p.Stdin().Close())
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Equal(t, "unharmed", string(out))
	require.NoError(t, p.Wait())
}

func TestCommandTooLargeIsRefusedUnsent(t *testing.T) {
	url := newServer(t, &wsep.Handler{})
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	require.NoError(t, err)
	execer := wsep.RemoteExecer(conn)
	for _, c := range []wsep.Command{
		{Command: "true", Args: []string{strings.Repeat("x", 64000)}},
		{Command: "true", Args: []string{"not UTF-8: \xff"}},
	} {
		_, err = execer.Start(t.Context(), c)
		require.ErrorIs(t, err, wsep.ErrInvalidCommand)
	}
	p, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
	require.NoError(t, err, "the connection is still good")
	require.NoError(t, p.Wait())
}

func TestMaxProcesses(t *testing.T) {
	srv := wsep.NewServer()
	h := &wsep.Handler{Server: srv, Options: &wsep.Options{MaxProcesses: 2}}
	url := newServer(t, h)
	execer := wsep.Dialer{URL: url}
	var running []wsep.Process
	for range 2 {
		p, err := execer.Start(t.Context(), wsep.Command{Command: "cat", Stdin: true})
		require.NoError(t, err)
		running = append(running, p)
	}
	_, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
	require.ErrorIs(t, err, wsep.ErrBusy)
	c := dialRaw(t, url)
	c.send(startCat)
	code, _ := c.closed()
	require.Equal(t, websocket.StatusTryAgainLater, code)

	require.NoError(t, running[0].Stdin().Close())
	require.NoError(t, running[0].Wait())
	// The server frees the place when it notices that the client is lost.
	require.Eventually(t, func() bool {
		p, err := execer.Start(t.Context(), wsep.Command{Command: "true"})
		return err == nil && p.Wait() == nil
	}, patience, 10*time.Millisecond)
	require.NoError(t, running[1].Stdin().Close())
	require.NoError(t, running[1].Wait())
}
