//go:build !windows

package wsep_test

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cdr.dev/wsep"
)

func TestInheritEnv(t *testing.T) {
	t.Setenv("WSEP_A", "a")
	t.Setenv("WSEP_B", "b")
	c := sh(`echo "$WSEP_A,$WSEP_B,$WSEP_C"`)
	c.Env = []string{"WSEP_C=c"}
	for _, tc := range []struct {
		name    string
		inherit *[]string
		want    string
	}{
		{"all", nil, "a,b,c"},
		{"some", &[]string{"WSEP_B", "PATH"}, ",b,c"},
		{"none", &[]string{}, ",,c"},
		{"none by nil", new([]string), ",,c"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := run(t, wsep.LocalExecer{InheritEnv: tc.inherit}, c)
			require.NoError(t, err)
			require.Equal(t, tc.want+"\n", out)
		})
	}
	for _, tc := range []struct {
		inherit, env []string
		tty          bool
		want         string
	}{
		{[]string{}, []string{"ONLY=this"}, false, "ONLY=this\n"},
		{[]string{}, nil, false, ""},
		{[]string{"WSEP_NOT_SET"}, nil, false, ""},
		{[]string{}, nil, true, "WSEP_TTY=true\r\n"},
	} {
		env := wsep.Command{Command: "/usr/bin/env", Env: tc.env, TTY: tc.tty}
		out, err := run(t, wsep.LocalExecer{InheritEnv: &tc.inherit}, env)
		require.NoError(t, err)
		require.Equal(t, tc.want, out, "%+v", tc)
	}

	c.Env = []string{"WSEP_A=mine"}
	out, err := run(t, wsep.LocalExecer{}, c)
	require.NoError(t, err)
	require.Equal(t, "mine,b,\n", out)
}

func TestChildProcessPriority(t *testing.T) {
	niceness := 7
	out, err := run(t, wsep.LocalExecer{ChildProcessPriority: &niceness}, wsep.Command{
		// The priority is set after the start, so the command looks several times.
		Command: "sh", Args: []string{"-c", `while [ "$(nice)" != 7 ]; do sleep 0.01; done; nice`},
	})
	require.NoError(t, err)
	require.Equal(t, "7\n", out)
}

func TestOtherUser(t *testing.T) {
	requireRoot(t)
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, err := strconv.Atoi(nobody.Uid)
	require.NoError(t, err)
	groups, err := nobody.GroupIds()
	require.NoError(t, err)
	const whoami = `id -u; id -g; id -G; echo "$HOME,$USER,$LOGNAME"; grep -E '^(Uid|Gid|CapEff|Groups)' /proc/self/status`
	const strangerID = 54321

	for _, tty := range []bool{false, true} {
		for _, tc := range []struct {
			name     string
			uid, gid uint32
			want     []string
		}{
			{"UID alone", uint32(uid), 0, []string{
				nobody.Uid, nobody.Gid, strings.Join(groups, " "),
				nobody.HomeDir + "," + nobody.Username + "," + nobody.Username,
			}},
			{"UID and GID", uint32(uid), 12345, []string{
				nobody.Uid, "12345", "12345 " + strings.Join(groups, " "),
				nobody.HomeDir + "," + nobody.Username + "," + nobody.Username,
			}},
			{"unknown UID and GID", strangerID, 12345, []string{
				"54321", "12345", "12345", "/,54321,54321",
			}},
		} {
			t.Run(fmt.Sprintf("%s/tty %t", tc.name, tty), func(t *testing.T) {
				c := inRootDirectory(sh(whoami))
				c.UID, c.GID, c.TTY = tc.uid, tc.gid, tty
				out, err := run(t, wsep.LocalExecer{}, c)
				require.NoError(t, err)
				lines := strings.Split(strings.ReplaceAll(out, "\r", ""), "\n")
				require.Equal(t, tc.want, lines[:4])
				id, gid := strconv.Itoa(int(tc.uid)), lines[1]
				status := strings.Join(lines[4:], "\n")
				require.Contains(t, status, "Uid:\t"+strings.Join([]string{id, id, id, id}, "\t"))
				require.Contains(t, status, "Gid:\t"+strings.Join([]string{gid, gid, gid, gid}, "\t"))
				require.Contains(t, status, "CapEff:\t0000000000000000")
				_, supplementary, _ := strings.Cut(status, "Groups:")
				require.NotContains(t, strings.Fields(supplementary), "0")
			})
		}
	}
	t.Run("the terminal is the user's", func(t *testing.T) {
		c := inRootDirectory(sh(`stat -c %u $(tty); echo hello >$(tty)`))
		c.UID, c.TTY = uint32(uid), true
		out, err := run(t, wsep.LocalExecer{}, c)
		require.NoError(t, err)
		require.Equal(t, nobody.Uid+"\r\nhello\r\n", out)
	})
	t.Run("the environment wins", func(t *testing.T) {
		c := inRootDirectory(sh(`echo $HOME`))
		c.UID, c.Env = uint32(uid), []string{"HOME=/mine"}
		out, err := run(t, wsep.LocalExecer{}, c)
		require.NoError(t, err)
		require.Equal(t, "/mine\n", out)
	})
	t.Run("unknown UID alone is refused", func(t *testing.T) {
		_, err := wsep.LocalExecer{}.Start(t.Context(), wsep.Command{Command: "id", UID: strangerID})
		require.ErrorIs(t, err, wsep.ErrInvalidCommand)
	})
	t.Run("GID alone is refused", func(t *testing.T) {
		_, err := wsep.LocalExecer{}.Start(t.Context(), wsep.Command{Command: "id", GID: 12345})
		require.ErrorIs(t, err, wsep.ErrInvalidCommand)
	})
	t.Run("a directory that is closed to the user is refused", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o700))
		_, err := wsep.LocalExecer{}.Start(t.Context(), wsep.Command{Command: "/bin/true", UID: uint32(uid), WorkingDir: dir})
		require.ErrorIs(t, err, fs.ErrPermission)
	})
}

func TestOwnUser(t *testing.T) {
	c := sh(`id -u; id -g`)
	c.UID, c.GID = uint32(os.Getuid()), uint32(os.Getgid())
	out, err := run(t, wsep.LocalExecer{}, c)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d\n%d\n", os.Getuid(), os.Getgid()), out)
}

// TestUnprivileged runs itself as another user, because root is allowed too much.
func TestUnprivileged(t *testing.T) {
	if os.Getenv("WSEP_TEST_UNPRIVILEGED") == "" {
		requireRoot(t)
		exe := copyForEverybody(t)
		c := inRootDirectory(wsep.Command{
			Command: exe, Args: []string{"-test.run=^TestUnprivileged$", "-test.v"},
			UID: 54321, GID: 54321, Env: []string{"WSEP_TEST_UNPRIVILEGED=1"},
		})
		out, err := run(t, wsep.LocalExecer{}, c)
		require.NoError(t, err, out)
		require.Contains(t, out, "--- PASS: TestUnprivileged")
		return
	}
	for _, c := range []wsep.Command{
		{Command: "id", UID: 1, GID: 1},
		{Command: "id", UID: 54321, GID: 1},
		{Command: "id", GID: 1},
	} {
		_, err := wsep.LocalExecer{}.Start(t.Context(), c)
		require.ErrorIs(t, err, fs.ErrPermission, "%+v", c)
	}
	out, err := run(t, wsep.LocalExecer{}, wsep.Command{Command: "id", Args: []string{"-u"}, UID: 54321})
	require.NoError(t, err)
	require.Equal(t, "54321\n", out)
	out, err = run(t, wsep.LocalExecer{}, wsep.Command{Command: "id", Args: []string{"-u"}, GID: 54321})
	require.NoError(t, err)
	require.Equal(t, "54321\n", out)
}

// copyForEverybody returns a copy of the test binary that every user may run.
func copyForEverybody(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	data, err := os.ReadFile(self)
	require.NoError(t, err)
	f, err := os.CreateTemp("", "wsep-test-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.Remove(f.Name()) })
	_, err = f.Write(data)
	require.NoError(t, err)
	require.NoError(t, f.Chmod(0o755))
	require.NoError(t, f.Close())
	return f.Name()
}

func TestRelativeProgram(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/prog", []byte("#!/bin/sh\necho here\n"), 0o755))
	out, err := run(t, wsep.LocalExecer{}, wsep.Command{Command: "./prog", WorkingDir: dir})
	require.NoError(t, err)
	require.Equal(t, "here\n", out)
}

func TestTerminalOutputSurvivesItsProcess(t *testing.T) {
	t.Parallel()
	// The output fits into the terminal's buffers, and the command exits before the first read.
	for range 20 {
		p, err := wsep.LocalExecer{}.Start(t.Context(), wsep.Command{
			Command: "sh", Args: []string{"-c", `stty -opost; head -c 8000 /dev/zero | tr '\0' x`}, TTY: true,
		})
		require.NoError(t, err)
		require.NoError(t, p.Wait())
		out, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("x", 8000), string(out))
	}
}

func TestEndOfFileOnTerminal(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, typed, want string }{
		{"empty", "", "got "},
		{"after a line", "line\n", "got line\n"},
		{"amid a line", "line", "got line"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := wsep.LocalExecer{}.Start(t.Context(), wsep.Command{
				// The command outlives the end of file. A hang-up would kill it.
				Command: "sh", Args: []string{"-c", `stty -echo -opost; echo ready; printf 'got %s' "$(cat; echo .)"; sleep 0.1; echo end`},
				TTY: true, Stdin: true,
			})
			require.NoError(t, err)
			r := bufio.NewReader(p.Stdout())
			_, err = r.ReadString('\n')
			require.NoError(t, err)
			_, err = io.WriteString(p.Stdin(), tc.typed)
			require.NoError(t, err)
			require.NoError(t, p.Stdin().Close())
			require.NoError(t, p.Stdin().Close())
			_, err = p.Stdin().Write([]byte("x"))
			require.ErrorIs(t, err, os.ErrClosed)
			out, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, tc.want+".end\n", string(out))
			require.NoError(t, p.Wait())
		})
	}
}

func TestTerminalThatItsProgramLetsGoOf(t *testing.T) {
	t.Parallel()
	c := sh(`exec <&- >&- 2>&-; sleep 0.2; exec >/dev/tty; echo back; exit 6`)
	c.TTY = true
	out, err := run(t, wsep.LocalExecer{}, c)
	require.Equal(t, "back\r\n", out)
	require.EqualError(t, err, "exit status 6", "it is not hung up on")
}

func TestStoppedProcessEnds(t *testing.T) {
	p, err := wsep.LocalExecer{KillDelay: time.Minute}.Start(t.Context(), sh(`trap "echo bye; exit 3" TERM; echo $$; while :; do sleep 0.01; done`))
	require.NoError(t, err)
	pid := readPids(t, readLine(t, p.Stdout()))[0]
	require.NoError(t, syscall.Kill(pid, unix.SIGSTOP))
	require.NoError(t, p.Close())
	require.Equal(t, "bye", readLine(t, p.Stdout()))
	require.EqualError(t, p.Wait(), "exit status 3")
}

// TestErrorsSayThingsOnce: an error has the text of the error that it wraps only once.
func TestErrorsSayThingsOnce(t *testing.T) {
	for _, c := range []wsep.Command{{}, {Command: "true", Args: []string{"\x00"}}, {Command: "true", GID: 1}} {
		_, err := wsep.LocalExecer{}.Start(t.Context(), c)
		require.ErrorIs(t, err, wsep.ErrInvalidCommand)
		require.Equal(t, 1, strings.Count(err.Error(), wsep.ErrInvalidCommand.Error()), err.Error())
	}
}
