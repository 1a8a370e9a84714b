package vt

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLastLine(t *testing.T) {
	for _, tc := range []struct{ name, written, want string }{
		{"blank", "", ""},
		{"erased", "text\x1b[2J", ""},
		{"spaces", "text\r\n   \r\n", "text"},
		{"a prompt", "one\r\ntwo\r\n$ ", "$"},
		{"columns", "a\x1b[1;10Hb", "a        b"},
		{"wide and combined", "日本 e\u0301 x", "日本 e\u0301 x"},
		{"colors", "\x1b[31mred\x1b[0m \x1b[44mon blue\x1b[K", "red on blue"},
		{"the alternate screen", "below\x1b[?1049habove", "above"},
		{"the normal screen again", "below\x1b[?1049habove\x1b[?1049l", "below"},
		{"above the cursor", "\x1b[4;1Hlast\x1b[1;1Hfirst", "last"},
		{"a full row", strings.Repeat("x", 20), strings.Repeat("x", 20)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			term := New(5, 20, 0)
			term.Write([]byte(tc.written))
			require.Equal(t, tc.want, term.LastLine())
		})
	}
}
