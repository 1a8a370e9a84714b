//go:build linux

package wsep_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/termmodes"
	"cdr.dev/wsep/internal/timetest"
)

// keyboard types into a program that reads single bytes, and returns the bytes that reach the program.
type keyboard struct {
	t    *testing.T
	p    wsep.Process
	file string // what the program has read
	at   int    // how much of that reached has returned
}

// newKeyboard starts the program in a session, in a terminal of a type. Escape sequences set modes.
func newKeyboard(t *testing.T, execer wsep.Execer, terminal, modes string) *keyboard {
	t.Helper()
	k := &keyboard{t: t, file: filepath.Join(t.TempDir(), "read")}
	c := script("1", `printf "$MODES"; stty raw -echo; echo ready; exec cat >"$FILE"`)
	c.Env = []string{"TERM=" + terminal, "MODES=" + modes, "FILE=" + k.file}
	var s *screenOf
	k.p, s = startScreen(t, execer, c)
	s.waitFor("ready")
	return k
}

// typeKeys types keys and then another byte. It returns what reaches the program before that byte.
func (k *keyboard) typeKeys(keys string) string {
	k.t.Helper()
	_, err := io.WriteString(k.p.Stdin(), keys+"\x00")
	require.NoError(k.t, err)
	return k.reached("\x00")
}

// reached waits until the program has read the text, and returns what the program has read before it.
func (k *keyboard) reached(end string) (keys string) {
	k.t.Helper()
	require.Eventually(k.t, func() bool {
		read, err := os.ReadFile(k.file)
		if err != nil {
			return false
		}
		before, _, ok := bytes.Cut(read[k.at:], []byte(end))
		keys = string(before)
		return ok
	}, patience, time.Millisecond)
	k.at += len(keys) + len(end)
	return keys
}

// keys are sequences that terminals send, in all their modes.
func keys() (all []string) {
	for b := range 255 {
		all = append(all, string([]byte{byte(b + 1)}))
	}
	for _, key := range "azAZ059[O;:'\"\\ \r\n\t\x7f\x01\x1b" {
		all = append(all, "\x1b"+string(key)) // with Alt
	}
	for _, key := range "ABCDEFHPQRSZ" {
		all = append(all, fmt.Sprintf("\x1b[1;5%c", key))
	}
	for key := 1; key < 35; key++ {
		all = append(all, fmt.Sprintf("\x1b[%d~", key), fmt.Sprintf("\x1b[%d;5~", key))
	}
	return append(all,
		"é漢\u0301😀", "\x9b1;2P", "\x1b[A", "\x1b[H", "\x1b[F", "\x1bOP",
		"\x1b[I", "\x1b[O", // focus
		"\x1b[27;5;9~", "\x1b[9;5u", // modifyOtherKeys, CSI u
		"\x1b[200~pasted\rtext\x1b[201~",
		"\x1b[<0;10;12M", "\x1b[<0;10;12m", "\x1b[<64;80;24M", "\x1b[M !!", // mouse
		"\x1b[?62;c", "\x1b[24;80R", "\x1b]11;rgb:0000/0000/0000\x1b\\", "\x1bP>|xterm\x1b\\", // answers
	)
}

func TestKeysReachTheProgram(t *testing.T) {
	skipIfShort(t)
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		_, execer := sessionServer(t, opts)
		for _, terminal := range []string{"xterm-256color", "tmux-256color", "vt100"} {
			for name, modes := range map[string]string{
				"none": "", "mouse": `\033[?1000h\033[?1006h`, "paste, cursor and keypad": `\033[?2004h\033[?1h\033=`,
			} {
				t.Run(terminal+", modes: "+name, func(t *testing.T) {
					k := newKeyboard(t, execer, terminal, modes)
					for typed := range slices.Chunk(keys(), 20) {
						typed := strings.Join(typed, " ")
						require.Equal(t, typed, k.typeKeys(typed))
					}
					if name != "mouse" {
						timetest.Within(t, 100*time.Millisecond, k.escape)
					}
					require.NoError(t, k.p.(wsep.Signaler).Signal(t.Context(), "KILL"))
					requireKilled(t, k.p, syscall.SIGKILL)
				})
			}
		}
	})
}

// escape types a single Esc, and returns how long it takes to reach the program.
func (k *keyboard) escape() time.Duration {
	k.t.Helper()
	began := time.Now()
	_, err := io.WriteString(k.p.Stdin(), "\x1b")
	require.NoError(k.t, err)
	k.reached("\x1b")
	return time.Since(began)
}

// TestModesReachTheDisplay: a command sets modes. Screen passes them on only if it thinks that the display knows them.
func TestModesReachTheDisplay(t *testing.T) {
	t.Parallel()
	_, execer := sessionServer(t, nil)
	for _, terminal := range []string{"xterm-256color", "tmux-256color"} {
		c := script("1", `printf '\033[?1000h\033[?2004h\033]2;a title\007'; echo end`)
		c.Env = []string{"TERM=" + terminal}
		p, s := startScreen(t, execer, c)
		shown := s.rest()
		for _, sequence := range []string{"\x1b[?1000h", "\x1b[?2004h", "\x1b]2;a title\a"} {
			require.Contains(t, shown, sequence, terminal)
		}
		requireExit(t, p, 0)
	}
}

// TestWhatIsTypedAtOnceIsShown types before the command's first output.
func TestWhatIsTypedAtOnceIsShown(t *testing.T) {
	t.Parallel()
	overAll(t, func(t *testing.T, execer wsep.Execer) {
		for range 3 {
			p, s := startScreen(t, execer, script("1", `read x; exit 3`))
			typeLine(t, p, "typed at once")
			shown := s.rest()
			cleared := strings.LastIndex(shown, "\x1b[2J")
			require.Contains(t, shown[max(cleared, 0):], "typed at once\r\n", "%q", shown)
			requireExit(t, p, 3)
		}
	})
}

// TestLeavingUndoesModes: a command sets modes that a terminal keeps, and its client detaches.
func TestLeavingUndoesModes(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, opts *wsep.Options) {
		_, execer := sessionServer(t, opts)
		const set = `printf '\033[?1002h\033[?1006h\033[?2004h\033[?1h\033=\033[?25l\033[4 q\033[4h\033[1;31m\033[5;9r\033]2;title\007up'`
		p, s := startScreen(t, execer, script("1", set+"; exec sleep 1000"))
		shown := s.waitFor("\x1b[?2004h")
		var modes termmodes.Modes
		modes.Follow([]byte(shown))
		require.NotEmpty(t, modes.Undo())
		require.NoError(t, p.Close())
		require.Error(t, waitWithin(t, p, patience))
		shown += s.rest()
		modes.Follow([]byte(shown))
		require.Empty(t, modes.Undo(), "%q", shown)
	})
}

// TestWhatIsTypedBeforeLeavingArrives stops screen for a moment. It reads the input only when the client detaches.
func TestWhatIsTypedBeforeLeavingArrives(t *testing.T) {
	t.Parallel()
	dir := sessionDir(t)
	srv, execer := serverIn(t, dir, &wsep.Handler{})
	k := newKeyboard(t, execer, "xterm", "")
	sockets, err := filepath.Glob(filepath.Join(dir, "wsep-*/s/*.s"))
	require.NoError(t, err)
	require.Len(t, sockets, 1)
	screen, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(sockets[0]), ".s"))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(screen, syscall.SIGSTOP))
	_, err = io.WriteString(k.p.Stdin(), "typed\x00")
	require.NoError(t, err)
	require.NoError(t, k.p.Close())
	time.Sleep(200 * time.Millisecond) // Time in which the bytes could be lost.
	require.NoError(t, syscall.Kill(screen, syscall.SIGCONT))
	require.Error(t, waitWithin(t, k.p, patience))
	require.Equal(t, "typed", k.reached("\x00"))
	srv.Close()
}
