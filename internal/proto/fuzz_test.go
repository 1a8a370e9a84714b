package proto_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
)

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		header, _ := proto.Split(v.message())
		f.Add(header)
	}
	f.Add([]byte(`{"type":"ack","stdin":999999999999999999}`))
	f.Add([]byte(`{"type":"ack","stdin":9223372036854775807}`))
	f.Add([]byte(`{"type":"ack","stdin":9223372036854775808}`))
	f.Add([]byte(`{"type":"ack","stdout":0}`))
	f.Add([]byte(`{"type":"ack","stderr":00}`))
	f.Add([]byte(`{"type":"ack","stderr":-1}`))
	f.Add([]byte(`{"type":"ack","other":1}`))
	f.Add([]byte(`{"type":"ack","stdin":}`))
	f.Add([]byte(`{"type":"ack","seq":9223372036854775807}`))
	f.Add([]byte(`{"type":"ack","seq":0}`))
	f.Add([]byte(`{"type":"echo","n":9223372036854775807}`))
	f.Add([]byte(`{"type":"echo","n":0}`))
	f.Add([]byte(`{"type":"echo","n":-1}`))
	f.Add([]byte(`{"type":"echo","n":}`))
	f.Fuzz(func(t *testing.T, header []byte) {
		original := bytes.Clone(header)
		msg, err := proto.Decode(header)
		require.Equal(t, original, header, "the header is read, not written")

		// No fast path recognizes a header with a blank before it, and the blank does not change the message.
		slow, slowErr := proto.Decode(append([]byte(" "), header...))
		require.Equal(t, slow, msg)
		require.Equal(t, slowErr == nil, err == nil, "%v, %v", err, slowErr)
		unknown, ok := errors.AsType[proto.UnknownTypeError](err)
		slowUnknown, slowOK := errors.AsType[proto.UnknownTypeError](slowErr)
		require.Equal(t, slowOK, ok)
		require.Equal(t, slowUnknown, unknown)

		if err == nil {
			requireRoundTrip(t, msg)
		}
	})
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		"", "\n", "\n\n", "header", "header\n", "header\nbody", "header\nb\nody\n", "\nbody", "\x00\n\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		header, body := proto.Split(msg)
		require.NotContains(t, string(header), "\n")
		joined := string(header)
		if len(header) < len(msg) {
			joined += "\n" + string(body)
		} else {
			require.Empty(t, body)
		}
		require.Equal(t, string(msg), joined)
	})
}

// requireRoundTrip checks that encoding and decoding a message returns the same message.
func requireRoundTrip(t *testing.T, msg any) {
	t.Helper()
	if stream, ok := msg.(proto.Stream); ok {
		require.Contains(t, []proto.Stream{proto.TypeStdin, proto.TypeStdout, proto.TypeStderr}, stream)
		return
	}
	encoded, err := proto.Encode(msg)
	require.NoError(t, err)
	require.NotContains(t, string(encoded), "\n", "it would end the header")
	again, err := proto.Decode(encoded)
	require.NoError(t, err, "%s", encoded)
	require.Equal(t, msg, again)
}
