package sshtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// StartBusyBox is [Start] on a host with BusyBox as /bin/sh, as the login's shell and as the tools, as on Alpine.
func StartBusyBox(t testing.TB, settings ...string) *SSHD {
	t.Helper()
	busybox := installed(t, "busybox")
	s := newSSHD(t)
	tools := filepath.Join(s.dir, "bin")
	require.NoError(t, os.Mkdir(tools, 0o755))
	require.NoError(t, exec.Command(busybox, "--install", "-s", tools).Run())
	// BusyBox's stty shows a terminal of one row as one of 24.
	require.NoError(t, os.Remove(filepath.Join(tools, "stty")))
	s.env = []string{"PATH=" + tools + ":" + os.Getenv("PATH")}
	return s.startOpenSSH(t, settings, inPlace(t, busybox, "/bin/sh", s.passwd(t, "/bin/sh"), "/etc/passwd")...)
}

// StartDropbear is [Start] with dropbear, which has no settings.
func StartDropbear(t testing.TB) *SSHD {
	t.Helper()
	dropbear := installed(t, "dropbear")
	s := newSSHD(t)
	key := filepath.Join(s.dir, "host_key")
	told, err := exec.Command(installed(t, "dropbearkey"), "-t", "ed25519", "-f", key).Output()
	require.NoError(t, err)
	_, line, _ := strings.Cut(string(told), "\nssh-")
	s.hostKey, _, _, _, err = ssh.ParseAuthorizedKey([]byte("ssh-" + line))
	require.NoError(t, err)
	by := inPlace(t, s.passwd(t, "/bin/sh"), "/etc/passwd")
	return s.listen(t, func() *exec.Cmd {
		server := command(append(slices.Clip(by), dropbear, "-F", "-E", "-e", "-s",
			"-r", key, "-P", filepath.Join(s.dir, "pid"), "-p", s.Address))
		server.Env = append(os.Environ(), s.environment()...)
		return server
	})
}

// installed returns a program's path, or skips the test.
func installed(t testing.TB, program string) string {
	t.Helper()
	for _, path := range []string{program, "/usr/sbin/" + program} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skip(program + " is not installed")
	return ""
}

// passwd returns a copy of the system's file of users with another home directory and login shell for s.User.
func (s *SSHD) passwd(t testing.TB, shell string) string {
	content, err := os.ReadFile("/etc/passwd")
	require.NoError(t, err)
	lines := strings.Split(string(content), "\n")
	for i, line := range lines {
		if fields := strings.Split(line, ":"); len(fields) == 7 && fields[0] == s.User {
			fields[5], fields[6] = s.Home, shell
			lines[i] = strings.Join(fields, ":")
		}
	}
	path := filepath.Join(s.dir, "passwd")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644))
	return path
}

// inPlace returns a prefix for a command. The command sees files in place of others: the words are pairs of a file and
// the path where it stands.
func inPlace(t testing.TB, words ...string) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may put files in the place of others")
	}
	const script = `while [ "$1" != -- ]; do mount --bind "$1" "$2" && shift 2 || exit; done; shift; exec "$@"`
	return slices.Concat([]string{installed(t, "unshare"), "--mount", "sh", "-c", script, "sh"}, words, []string{"--"})
}
