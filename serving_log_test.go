//go:build linux

package wsep_test

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"cdr.dev/slog"
	"cdr.dev/slog/sloggers/sloghuman"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/streamtest"
)

// hostile is text that a log must escape: both forms of an escape sequence, and a second line.
const hostile = "hostile\x1b[31m\u009b31m\r\nforged"

// logTo returns options that log everything, and the log.
func logTo() (*wsep.Options, *streamtest.Buffer) {
	log := new(streamtest.Buffer)
	logger := slog.Make(sloghuman.Sink(log)).Leveled(slog.LevelDebug)
	return &wsep.Options{Logger: &logger}, log
}

// TestLogTakesNoOrders: each log entry is one line without control characters, also if clients, other servers or the
// program's hooks send other text.
func TestLogTakesNoOrders(t *testing.T) {
	far := newServer(t, &wsep.Handler{Execer: refusing{&wsep.StartError{Err: errors.New(hostile)}}})
	t.Setenv("PATH", withoutScreen(t))
	for name, tc := range map[string]struct {
		handler  *wsep.Handler // nil for one that runs commands here
		command  wsep.Command
		messages []string // instead of a command
	}{
		"working directory":    {command: wsep.Command{Command: "true", WorkingDir: "/" + hostile}},
		"program":              {command: wsep.Command{Command: "/" + hostile}},
		"long name of program": {command: wsep.Command{Command: "/" + hostile + strings.Repeat("x", 50_000)}},
		"session":              {command: wsep.Command{Command: "true", ID: hostile, TTY: true}},
		"server":               {command: wsep.Command{Command: "true"}, handler: &wsep.Handler{Execer: wsep.Dialer{URL: far}}},
		"hook": {command: wsep.Command{Command: "true"}, handler: &wsep.Handler{
			Authorize: func(*http.Request) (string, error) { return "", errors.New(hostile) },
		}},
		"signal": {messages: []string{
			`{"type":"start","command":{"command":"cat"},"extensions":{"signal":true}}`,
			`{"type":"signal","signal":"hostile\u001b[31m\n\u009b"}`,
			"{\"type\":\"stdin\"}\nwhich is not enabled",
		}},
		"type":            {messages: []string{`{"type":"hostile\u001b[31m\n\u009b"}`, "no JSON"}},
		"start in pieces": {messages: []string{`{"type":"start","command":{"command":"\u001b hostile`}},
	} {
		t.Run(name, func(t *testing.T) {
			opts, log := logTo()
			opts.Sessions = wsep.SessionsScreen // There is no screen, which is logged.
			h := tc.handler
			if h == nil {
				h = new(wsep.Handler)
			}
			h.Options = opts
			url := newServer(t, h)
			if tc.messages == nil {
				if p, err := (wsep.Dialer{URL: url}).Start(t.Context(), tc.command); err == nil {
					_ = p.Wait()
				}
			} else {
				c := dialRaw(t, url)
				c.send(tc.messages...)
				_, _ = c.closed()
			}
			require.Eventually(t, func() bool { return log.String() != "" }, patience, patience/1000)
			requireFit(t, log.String())
		})
	}
}

// entry matches the beginning of a log entry.
var entry = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \[\w+\]\s`)

func requireFit(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		require.Regexp(t, entry, line)
		require.Less(t, len(line), 4<<10)
		for _, r := range line {
			require.True(t, unicode.IsPrint(r) || r == '\t', "%q in %q", r, line)
		}
	}
}

// TestLogOfAConnectionIsBounded: a client can't fill the disk.
func TestLogOfAConnectionIsBounded(t *testing.T) {
	for name, message := range map[string]string{
		"unknown type":       `{"type":"x` + strings.Repeat("\\u001b", 100) + `"}`,
		"a server's message": `{"type":"pid"}`,
		"request that fails": `{"type":"resize","rows":0,"cols":0}`,
	} {
		t.Run(name, func(t *testing.T) {
			opts, log := logTo()
			c := dialRaw(t, newServer(t, &wsep.Handler{Options: opts}))
			c.send(startCat)
			for range 1000 {
				c.send(message)
			}
			c.send(`{"type":"close_stdin"}`)
			exit, _ := c.result()
			require.Zero(t, exit.ExitCode)
			require.LessOrEqual(t, strings.Count(log.String(), "\n"), 11)
			require.Less(t, len(log.String()), 16<<10)
		})
	}
}
