package proto_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
)

func TestDeepNestingIsMalformed(t *testing.T) {
	const deep = 60000
	closed := strings.Repeat("[", deep) + strings.Repeat("]", deep)
	for name, header := range map[string]string{
		"arrays, open":                    strings.Repeat("[", deep),
		"arrays, closed":                  closed,
		"objects, open":                   strings.Repeat(`{"a":`, deep),
		"in an unknown field":             `{"type":"stdin","x":` + closed + "}",
		"in an unknown field, open":       `{"type":"stdin","x":` + strings.Repeat("[", deep),
		"in a known field":                `{"type":"start","command":` + closed + "}",
		"in a message of an unknown type": `{"type":"future","x":` + closed + "}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := proto.Decode([]byte(header))
			require.Error(t, err)
			_, unknown := errors.AsType[proto.UnknownTypeError](err)
			require.False(t, unknown)
		})
	}
}

func TestDecodeReturnsNoMessageWithAnError(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Error == "" {
			continue
		}
		header, _ := proto.Split(v.message())
		msg, err := proto.Decode(header)
		require.Error(t, err, v.Name)
		require.Nil(t, msg, v.Name)
	}
}

func TestUnknownTypeIsNamedQuoted(t *testing.T) {
	_, err := proto.Decode([]byte(`{"type":"a\nb\u001b"}`))
	require.Equal(t, proto.UnknownTypeError{Type: "a\nb\x1b"}, err)
	require.Equal(t, `unknown message type "a\nb\x1b"`, err.Error())
}

func TestEncodeRefusesWhatIsNoMessage(t *testing.T) {
	for _, m := range []any{nil, "stdin", proto.Stream(proto.TypeStdin), &proto.Resize{}, proto.Extensions{}} {
		_, err := proto.Encode(m)
		require.Error(t, err, "%T", m)
	}
}

func TestConstantHeadersAreWhatEncodingWouldGive(t *testing.T) {
	for typ, header := range map[string]string{
		proto.TypeStdin: proto.StdinHeader, proto.TypeStdout: proto.StdoutHeader, proto.TypeStderr: proto.StderrHeader,
	} {
		want, err := json.Marshal(struct {
			Type string `json:"type"`
		}{typ})
		require.NoError(t, err)
		require.Equal(t, string(want)+"\n", header)
	}
}

func TestAppendAckAgreesWithEncode(t *testing.T) {
	acks := map[proto.Stream]func(int64) proto.Ack{
		proto.TypeStdin:  func(n int64) proto.Ack { return proto.Ack{Stdin: n} },
		proto.TypeStdout: func(n int64) proto.Ack { return proto.Ack{Stdout: n} },
		proto.TypeStderr: func(n int64) proto.Ack { return proto.Ack{Stderr: n} },
		proto.AckSeq:     func(n int64) proto.Ack { return proto.Ack{Seq: n} },
	}
	for stream, ack := range acks {
		for _, n := range []int64{1, 9, 10, 512 << 10, 1<<53 - 1, 999999999999999999, 1e18, math.MaxInt64, -1} {
			want, err := proto.Encode(ack(n))
			require.NoError(t, err)
			got := proto.AppendAck([]byte("before"), stream, n)
			require.Equal(t, "before"+string(want), string(got))

			msg, err := proto.Decode(want)
			require.NoError(t, err)
			require.Equal(t, ack(n), msg)
		}
		msg, err := proto.Decode(proto.AppendAck(nil, stream, 0))
		require.NoError(t, err)
		require.Equal(t, proto.Ack{}, msg)
	}
}

func TestAppendAckDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 64)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		buf = proto.AppendAck(buf[:0], proto.TypeStdout, math.MaxInt64)
	}))
}

func TestSize(t *testing.T) {
	for _, tc := range []struct {
		name       string
		start      proto.Start
		rows, cols uint16
	}{
		{"none", proto.Start{}, 24, 80},
		{"in command", proto.Start{Command: proto.Command{Rows: 1, Cols: 2}}, 1, 2},
		{"beside command", proto.Start{Rows: 3, Cols: 4}, 3, 4},
		{"both", proto.Start{Command: proto.Command{Rows: 1, Cols: 2}, Rows: 3, Cols: 4}, 1, 2},
		{"each for itself", proto.Start{Command: proto.Command{Rows: 1}, Cols: 4}, 1, 4},
		{"rows alone", proto.Start{Command: proto.Command{Rows: 1}}, 1, 80},
		{"cols alone", proto.Start{Cols: 4}, 24, 4},
	} {
		rows, cols := tc.start.Size()
		require.Equal(t, []uint16{tc.rows, tc.cols}, []uint16{rows, cols}, tc.name)
	}
}

func TestWantsStdin(t *testing.T) {
	for _, tc := range []struct {
		stdin *bool
		tty   bool
		want  bool
	}{
		{nil, false, false},
		{nil, true, true},
		{new(false), false, false},
		{new(false), true, false},
		{new(true), false, true},
		{new(true), true, true},
	} {
		start := proto.Start{Command: proto.Command{Stdin: tc.stdin, TTY: tc.tty}}
		require.Equal(t, tc.want, start.WantsStdin(), "%+v", tc)
	}
}

func TestKeyIsInNoText(t *testing.T) {
	key := proto.Key{1, 2, 3}
	text, err := key.MarshalText()
	require.NoError(t, err)
	require.Len(t, text, 43)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{key, &key, proto.Start{Key: &key}, proto.Resume{Key: key}} {
			printed := fmt.Sprintf(format, v)
			require.NotContains(t, printed, string(text[:8]), format)
			require.NotContains(t, printed, "1, 2, 3", format)
			require.NotContains(t, printed, "1 2 3", format)
			require.NotContains(t, printed, "0x1, 0x2", format)
		}
	}
}
