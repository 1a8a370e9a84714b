package termmodes

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUndo(t *testing.T) {
	for _, tc := range []struct{ name, output, undo string }{
		{"nothing", "", ""},
		{"text", "text\r\n\a\x0e", ""},
		{"mouse", "\x1b[?1000h\x1b[?1002;1006h", "\x1b[?1000l\x1b[?1002l\x1b[?1006l"},
		{"mouse on and off", "\x1b[?1000;1006h text \x1b[?1006l\x1b[?1000l", ""},
		{"focus and paste", "\x1b[?1004h\x1b[?2004h", "\x1b[?1004l\x1b[?2004l"},
		{"cursor", "\x1b[?25l", "\x1b[?25h"},
		{"cursor shown again", "\x1b[?25l\x1b[?25h", ""},
		{"autowrap", "\x1b[?7l", "\x1b[?7h"},
		{"alternate screen", "\x1b[?1049h", "\x1b[?1049l"},
		{"alternate screen left", "\x1b[?1049h\x1b[2J\x1b[?1049l", ""},
		{"keys", "\x1b[?1h\x1b=", "\x1b[?1l\x1b>"},
		{"modified keys", "\x1b[>4;2m", "\x1b[>4m"},
		{"modified keys off", "\x1b[>4;2m\x1b[>4;0m", ""},
		{"modified keys by default", "\x1b[>4;2m\x1b[>4m", ""},
		{"pushed keys", "\x1b[>1u\x1b[>3u\x1b[>5u\x1b[<u", "\x1b[<2u"},
		{"popped keys", "\x1b[>1u\x1b[<5u", ""},
		{"set keys", "\x1b[=3;1u", "\x1b[=0u"},
		{"cursor style", "\x1b[4 q", "\x1b[0 q"},
		{"cursor style by default", "\x1b[4 q\x1b[ q", ""},
		{"insert", "\x1b[4h\x1b[20h", "\x1b[4l"},
		{"charset", "\x1b(0", "\x1b(B\x0f"},
		{"region", "\x1b[5;10r", "\x1b7\x1b[r\x1b8"},
		{"no region", "\x1b[5;10r\x1b[r", ""},
		{"attributes", "\x1b[1;31mred", "\x1b[m"},
		{"color 0", "\x1b[38;5;0m", "\x1b[m"},
		{"sub-parameters", "\x1b[4:3m", "\x1b[m"},
		{"no attributes", "\x1b[1;31mred\x1b[0m\x1b[39;27m\x1b[m", ""},
		{"no attribute but one", "\x1b[1;31mred\x1b[0;7m", "\x1b[m"},
		{"soft reset", "\x1b[?25l\x1b[?1h\x1b[?1000h\x1b=\x1b[4h\x1b[31m\x1b[5r\x1b[!p", "\x1b[?1000l"},
		{"reset", "\x1b[?25l\x1b[?1000h\x1b[>1u\x1b[31m\x1bc", ""},
		{"title", "\x1b]2;[?25l\a\x1b[?2004h", "\x1b[?2004l"},
		{"string", "\x1bP1$r0m\x1b\\\x1b[?2004h", "\x1b[?2004l"},
		{"other sequences", "\x1b7\x1b8\x1bM\x1b#8\x1b%G\x1b[3;4H\x1b[?6c\x1b[>c\x1b[6n\x1b[?2026$p\x1b[22;2t\x1b(B\x1b)B", ""},
		{"unfinished", "\x1b[?1000h\x1b[?25", "\x18\x1b[?1000l"},
		{"begun again", "\x1b[?2\x1b[?25l", "\x1b[?25h"},
		{"too long", "\x1b[" + string(make([]byte, 100)) + "\x1b[?25l", "\x1b[?25h"},
		{"canceled", "\x1b[?25\x18l\x1b[?25\x1al", ""},
		{"control characters within", "\x1b[?\r25\nl", "\x1b[?25h"},
		{"no numbers", "\x1b[?;;h\x1b[?99999999999999999999h\x1b[?-1h\x1b[h", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var whole, bytewise Modes
			whole.Follow([]byte(tc.output))
			for _, b := range []byte(tc.output) {
				bytewise.Follow([]byte{b})
			}
			require.Equal(t, whole, bytewise)
			undo := whole.Undo()
			require.Equal(t, tc.undo, string(undo))
			require.Empty(t, whole.Undo())
			bytewise.Follow(undo)
			require.Empty(t, bytewise.Undo())
		})
	}
}

func TestFollowDoesNotAllocate(t *testing.T) {
	var m Modes
	output := []byte("\x1b[1;31mred\x1b[0m \x1b[?25l\x1b[3;4H\x1b]2;title\a \x1b[m text that is longer than most \x1b[?25h\r\n")
	require.Zero(t, testing.AllocsPerRun(100, func() { m.Follow(output) }))
}

func FuzzFollow(f *testing.F) {
	f.Add([]byte("\x1b[?1000;25h\x1b[>4;2m\x1b[4 q\x1b(0\x1b[5;7r"))
	f.Fuzz(func(t *testing.T, output []byte) {
		var m Modes
		m.Follow(output)
		m.Follow(m.Undo())
		require.Empty(t, m.Undo())
	})
}
