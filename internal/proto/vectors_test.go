package proto_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
)

func TestVectorsFollowTheirFormat(t *testing.T) {
	seen := map[string]bool{}
	decoded := map[string]bool{}
	canonical := map[string]bool{}
	for _, v := range vectors(t) {
		require.NotEmpty(t, v.Name)
		require.False(t, seen[v.Name], "%s is there twice", v.Name)
		seen[v.Name] = true
		require.Contains(t, []string{"client", "server", "any"}, v.Direction, v.Name)
		require.False(t, v.Message != "" && v.MessageBase64 != nil, v.Name)
		require.False(t, v.Body != "" && v.BodyBase64 != nil, v.Name)
		if v.Error != "" {
			require.Contains(t, []string{"malformed", "unknown_type"}, v.Error, v.Name)
			require.Nil(t, v.Decoded, v.Name)
			require.False(t, v.Canonical, v.Name)
			continue
		}
		typ := decodedType(t, v)
		decoded[typ] = true
		if v.Canonical {
			require.False(t, v.Optional, v.Name)
			canonical[typ] = true
		}
	}
	types := []string{
		proto.TypeStart, proto.TypeStdin, proto.TypeCloseStdin, proto.TypeResize, proto.TypeSignal, proto.TypeClose,
		proto.TypeAck, proto.TypePid, proto.TypeStdout, proto.TypeStderr, proto.TypeExitCode, proto.TypeEnd,
		proto.TypeStartError, proto.TypeEcho, proto.TypeSkipped, proto.TypeResume, proto.TypeResumed, proto.TypeResumeError,
		proto.TypeAsk, proto.TypeAsked, proto.TypeSessions, proto.TypeAskError,
		proto.TypeDone,
	}
	require.Len(t, decoded, len(types))
	for _, typ := range types {
		require.True(t, decoded[typ], typ)
		require.True(t, canonical[typ], typ)
	}
}

func TestVectorsDecode(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			header, body := proto.Split(v.message())
			require.Equal(t, string(v.body()), string(body))
			msg, err := proto.Decode(header)
			_, unknown := errors.AsType[proto.UnknownTypeError](err)
			switch v.Error {
			case "unknown_type":
				require.True(t, unknown, "%v", err)
			case "malformed":
				require.Error(t, err)
				require.False(t, unknown, "%v", err)
			default:
				require.NoError(t, err)
				require.JSONEq(t, string(v.Decoded), decodedForm(t, msg))
			}
		})
	}
}

func TestVectorsEncode(t *testing.T) {
	for _, v := range vectors(t) {
		if !v.Canonical {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			require.Equal(t, string(v.message()), string(encodeDecodedForm(t, v)))
		})
	}
}

// TestSpecificationExamples decodes the conversations in README.md. A message is a line that begins with its sender, C
// or S, and indented lines that continue it.
func TestSpecificationExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	text := strings.ReplaceAll(string(readme), ",\n   \"", ",\"")
	examples := regexp.MustCompile(`(?m)^[CS] (\{.*)$`).FindAllStringSubmatch(text, -1)
	require.Greater(t, len(examples), 30)
	for _, example := range examples {
		header, _, _ := strings.Cut(example[1], "⏎")
		_, err := proto.Decode([]byte(header))
		if strings.Contains(header, "70000") {
			require.Error(t, err, header)
			continue
		}
		require.NoError(t, err, header)
	}
}

func decodedType(t testing.TB, v vector) string {
	t.Helper()
	var h struct{ Type string }
	require.NoError(t, json.Unmarshal(v.Decoded, &h), v.Name)
	return h.Type
}

// decodedForm returns a decoded message in the form of the vectors. It has every field, with its default if the message
// does not have it.
func decodedForm(t *testing.T, msg any) string {
	t.Helper()
	switch m := msg.(type) {
	case proto.Stream:
		return marshal(t, fields{"type": string(m)})
	case proto.CloseStdin:
		return marshal(t, fields{"type": "close_stdin", "seq": m.Seq})
	case proto.Close:
		return marshal(t, fields{"type": "close", "seq": m.Seq})
	case proto.Start:
		return marshal(t, fields{
			"type": "start", "id": m.ID, "command": decodedCommand(m), "scrollback": m.Scrollback, "key": m.Key,
			"extensions": decodedExtensions(m.Extensions),
		})
	case proto.Resize:
		return marshal(t, fields{"type": "resize", "rows": m.Rows, "cols": m.Cols, "seq": m.Seq})
	case proto.Signal:
		return marshal(t, fields{"type": "signal", "signal": m.Signal, "seq": m.Seq})
	case proto.Ack:
		return marshal(t, fields{"type": "ack", "stdin": m.Stdin, "stdout": m.Stdout, "stderr": m.Stderr, "seq": m.Seq})
	case proto.Echo:
		return marshal(t, fields{"type": "echo", "n": m.N})
	case proto.Pid:
		return marshal(t, marked(m.Server, fields{
			"type": "pid", "pid": m.Pid, "session": m.Session, "extensions": decodedExtensions(m.Extensions),
		}))
	case proto.ExitCode:
		return marshal(t, fields{
			"type": "exit_code", "exit_code": m.ExitCode, "error": m.Error, "signal": m.Signal, "kind": m.Kind,
			"pending": m.Pending,
		})
	case proto.End:
		return marshal(t, fields{"type": "end"})
	case proto.StartError:
		return marshal(t, fields{"type": "start_error", "kind": m.Kind, "message": m.Message})
	case proto.Resume:
		return marshal(t, fields{
			"type": "resume", "key": m.Key, "stdout": m.Stdout, "stderr": m.Stderr, "server": m.Server, "attempt": m.Attempt,
			"extensions": decodedExtensions(m.Extensions),
		})
	case proto.Skipped:
		return marshal(t, fields{"type": "skipped", "stdout": m.Stdout, "stderr": m.Stderr})
	case proto.Resumed:
		return marshal(t, marked(m.Server, fields{
			"type": "resumed", "pid": m.Pid, "session": m.Session, "stdin": m.Stdin, "seq": m.Seq,
			"extensions": decodedExtensions(m.Extensions),
		}))
	case proto.ResumeError:
		return marshal(t, fields{"type": "resume_error", "kind": m.Kind, "message": m.Message, "never": m.Never})
	case proto.Ask:
		return marshal(t, fields{
			"type": "ask", "question": m.Question, "id": m.ID, "reason": m.Reason, "signal": m.Signal,
		})
	case proto.Asked:
		return marshal(t, fields{"type": "asked"})
	case proto.Sessions:
		return marshal(t, fields{"type": "sessions", "sessions": decodedSessions(m), "more": m.More})
	case proto.Done:
		return marshal(t, fields{"type": "done"})
	case proto.AskError:
		return marshal(t, fields{"type": "ask_error", "kind": m.Kind, "message": m.Message})
	}
	require.Failf(t, "unexpected message", "%T", msg)
	return ""
}

type fields map[string]any

// marked adds a server's mark, if there is one.
func marked(mark string, f fields) fields {
	if mark != "" {
		f["server"] = mark
	}
	return f
}

func marshal(t *testing.T, f fields) string {
	t.Helper()
	b, err := json.Marshal(f)
	require.NoError(t, err)
	return string(b)
}

func decodedCommand(m proto.Start) fields {
	rows, cols := m.Size()
	c := m.Command
	return fields{
		"command": c.Command, "args": append([]string{}, c.Args...), "stdin": m.WantsStdin(), "tty": c.TTY,
		"rows": rows, "cols": cols, "uid": c.UID, "gid": c.GID, "env": append([]string{}, c.Env...),
		"working_dir": c.WorkingDir,
	}
}

func decodedSessions(m proto.Sessions) []fields {
	all := []fields{}
	for _, s := range m.Sessions {
		all = append(all, fields{
			"id": s.ID, "command": s.Command, "args": append([]string{}, s.Args...), "tty": s.TTY, "working_dir": s.WorkingDir,
			"age": s.Age, "clients": s.Clients, "state": s.State, "last_line": s.LastLine, "stdout": s.Stdout,
			"stderr": s.Stderr, "exit": s.Exit,
		})
	}
	return all
}

func decodedExtensions(e *proto.Extensions) any {
	if e == nil {
		return nil
	}
	f := fields{
		"window": e.Window, "max_message": e.MaxMessage, "signal": e.Signal, "outcome": e.Outcome, "echo": e.Echo,
		"resume": e.Resume, "session": e.Session,
	}
	if e.Keep != 0 {
		f["keep"] = e.Keep
	}
	if e.Reuse {
		f["reuse"] = true
	}
	if e.ZeroMask {
		f["zero_mask"] = true
	}
	return f
}

// encodeDecodedForm encodes a vector's decoded form. The fields have the names of the wire.
func encodeDecodedForm(t *testing.T, v vector) []byte {
	t.Helper()
	switch typ := decodedType(t, v); typ {
	case proto.TypeStdin:
		return bulkMessage(proto.StdinHeader, v.body())
	case proto.TypeStdout:
		return bulkMessage(proto.StdoutHeader, v.body())
	case proto.TypeStderr:
		return bulkMessage(proto.StderrHeader, v.body())
	case proto.TypeStart:
		return encodeAs[proto.Start](t, v)
	case proto.TypeCloseStdin:
		return encodeAs[proto.CloseStdin](t, v)
	case proto.TypeClose:
		return encodeAs[proto.Close](t, v)
	case proto.TypeResize:
		return encodeAs[proto.Resize](t, v)
	case proto.TypeSignal:
		return encodeAs[proto.Signal](t, v)
	case proto.TypeAck:
		return encodeAs[proto.Ack](t, v)
	case proto.TypeEcho:
		return encodeAs[proto.Echo](t, v)
	case proto.TypeSkipped:
		return encodeAs[proto.Skipped](t, v)
	case proto.TypePid:
		return encodeAs[proto.Pid](t, v)
	case proto.TypeExitCode:
		return encodeAs[proto.ExitCode](t, v)
	case proto.TypeEnd:
		return encodeAs[proto.End](t, v)
	case proto.TypeStartError:
		return encodeAs[proto.StartError](t, v)
	case proto.TypeResume:
		return encodeAs[proto.Resume](t, v)
	case proto.TypeResumed:
		return encodeAs[proto.Resumed](t, v)
	case proto.TypeResumeError:
		return encodeAs[proto.ResumeError](t, v)
	case proto.TypeAsk:
		return encodeAs[proto.Ask](t, v)
	case proto.TypeAsked:
		return encodeAs[proto.Asked](t, v)
	case proto.TypeSessions:
		return encodeAs[proto.Sessions](t, v)
	case proto.TypeDone:
		return encodeAs[proto.Done](t, v)
	case proto.TypeAskError:
		return encodeAs[proto.AskError](t, v)
	default:
		require.Failf(t, "unexpected type", "%q", typ)
		return nil
	}
}

func bulkMessage(header string, body []byte) []byte { return append([]byte(header), body...) }

func encodeAs[T any](t *testing.T, v vector) []byte {
	t.Helper()
	var m T
	require.NoError(t, json.Unmarshal(v.Decoded, &m))
	msg, err := proto.Encode(m)
	require.NoError(t, err)
	require.False(t, bytes.Contains(msg, []byte("\n")), "a v0.2.4 client parses the whole pid message as JSON")
	return msg
}
