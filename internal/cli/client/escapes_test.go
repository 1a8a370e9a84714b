package client

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestEscapes(t *testing.T) {
	for _, tc := range []struct {
		name, typed, sent string
		left              bool
	}{
		{"nothing special", "ls\rexit\r", "ls\rexit\r", false},
		{"leaves at the start", "~.", "", true},
		{"leaves after return", "ls\r~.", "ls\r", true},
		{"leaves after newline", "ls\n~.", "ls\n", true},
		{"leaves and sends no more", "a\r~.rest", "a\r", true},
		{"not within a line", "ls ~.\r", "ls ~.\r", false},
		{"not after a tilde within a line", "a~~.\r", "a~~.\r", false},
		{"two tildes are one", "~~", "~", false},
		{"two tildes and a dot", "~~.\r", "~.\r", false},
		{"third tilde", "~~~", "~~", false},
		{"home directory", "~/bin\r", "~/bin\r", false},
		{"a question is explained, and not sent", "~?ls\r", "ls\r", false},
		{"a question within a line", "ls ~?\r", "ls ~?\r", false},
		{"tilde alone on a line", "~\r~.", "~\r", true},
		{"tilde at the end of input", "~", "~", false},
		{"bytes that are no text", "\x00\xff~\xfe", "\x00\xff~\xfe", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, typed := range []io.Reader{
				strings.NewReader(tc.typed),
				iotest.OneByteReader(strings.NewReader(tc.typed)),
			} {
				var sent closeBuffer
				e := &escapes{stdin: &sent, help: func() {}}
				_, err := io.Copy(e, typed)
				if tc.left {
					require.ErrorIs(t, err, errLeft)
				} else {
					require.NoError(t, err)
				}
				require.NoError(t, e.Close())
				require.True(t, sent.closed)
				require.Equal(t, tc.sent, sent.String())
			}
		})
	}
}

type closeBuffer struct {
	bytes.Buffer
	closed bool
}

func (b *closeBuffer) Close() error {
	b.closed = true
	return nil
}
