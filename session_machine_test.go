//go:build linux

package wsep_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// These tests run sessions on machines that lack programs or disk space.

// onlyPrograms returns a PATH with only these programs.
func onlyPrograms(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		require.NoError(t, os.Symlink(must(t, name), filepath.Join(dir, name)))
	}
	return dir
}

// slim are the programs that a session needs.
var slim = []string{"sh", "screen", "cat", "mkdir", "mkfifo", "rm", "sleep"}

func TestMachineThatCantKeepASession(t *testing.T) {
	skipIfShort(t)
	needScreen(t)
	t.Parallel()
	for _, lacks := range slim {
		t.Run("lacks "+lacks, func(t *testing.T) {
			dir := sessionDir(t)
			has := slices.DeleteFunc(slices.Clone(slim), func(name string) bool { return name == lacks })
			there := localWith("PATH=" + onlyPrograms(t, append(has, "bash", "stty")...))
			srv, execer := serverIn(t, dir, &wsep.Handler{Execer: there})
			requireNative(t, dir, srv, execer, bash("1"))
		})
	}
	t.Run("does not know the user", func(t *testing.T) {
		requireRoot(t)
		dir := sessionDir(t)
		srv, execer := serverIn(t, dir, &wsep.Handler{})
		c := inRootDirectory(bash("1"))
		c.UID, c.GID = 54321, 54321
		requireNative(t, dir, srv, execer, c)
	})
	t.Run("has a disk that is read-only", func(t *testing.T) {
		there := newElsewhere(t, "ro")
		dir := sessionDir(t)
		srv, execer := serverIn(t, dir, &wsep.Handler{Execer: there})
		c := bash("1")
		c.Env = append(c.Env, "TMPDIR=/tmp")
		requireNative(t, dir, srv, execer, c)
	})
}

// TestSlimMachine runs sessions without ps and pkill, in several shells.
func TestSlimMachine(t *testing.T) {
	skipIfShort(t)
	needScreen(t)
	t.Parallel()
	withShell := func(shell string) string {
		dir := t.TempDir()
		require.NoError(t, os.Symlink(must(t, shell), filepath.Join(dir, "sh")))
		return dir + ":" + onlyPrograms(t, append(slim[1:], "bash", "stty", "env", "setsid")...)
	}
	for shell, path := range map[string]string{
		"dash": withShell("dash"), "bash": withShell("bash"), "busybox": withShell("busybox"),
	} {
		t.Run(shell, func(t *testing.T) {
			dir := sessionDir(t)
			srv, execer := serverIn(t, dir, &wsep.Handler{Execer: localWith("PATH=" + path)})
			m := newMark(t)
			p, s := startScreen(t, execer, m.on(script("1", `trap "" HUP TERM; echo up; while :; do sleep 0.1; done`)))
			s.waitFor("up")
			require.NoError(t, p.(wsep.Signaler).Signal(t.Context(), "KILL"))
			requireExit(t, p, 128+9)
			for id, text := range []string{ignorant, withChildren, "setsid sh -c :; echo up; exec cat"} {
				p, s = startScreen(t, execer, m.on(script(fmt.Sprint(id), text)))
				s.waitFor("up")
			}
			require.Equal(t, 3, srv.SessionCount())
			requireClosed(t, dir, srv, p, m)

			p, s = startScreen(t, execer, m.on(bash("1")))
			shell := s.ask(p, "$$")
			require.NoError(t, p.Close())
			require.Error(t, waitWithin(t, p, patience))
			p, s = startScreen(t, execer, m.on(bash("1")))
			require.Equal(t, shell, s.ask(p, "$$"))
			typeLine(t, p, "exit 9")
			s.rest()
			requireExit(t, p, 9)
			requireSessions(t, srv, 0)
		})
	}
}

// TestFullDisk starts sessions on a disk with little room. The command gets a session or a plain terminal. Nothing is left of
// it.
func TestFullDisk(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	const pages = 10
	there := newElsewhere(t, fmt.Sprintf("size=%dk", 4*pages))
	var sessions, plain int
	for free := range pages {
		opts := &wsep.Options{Sessions: wsep.SessionsScreen}
		srv, execer := handlerServer(t, &wsep.Handler{Execer: there, Options: opts})
		there.run(t, fmt.Sprintf("head -c %d /dev/zero >/tmp/full", 4096*(pages-free)))
		m := newMark(t)
		c := m.on(bash("1"))
		c.Env = append(c.Env, "TMPDIR=/tmp")
		p, s := startScreen(t, execer, c)
		require.NotEmpty(t, s.ask(p, "$$"))
		if srv.SessionCount() == 1 {
			sessions++
			there.run(t, "head -c 1000000 /dev/zero >>/tmp/full 2>/dev/null || :")
			typeLine(t, p, "exit 9")
			requireExit(t, p, 9)
			p, s = startScreen(t, execer, m.on(script("2", ignorant)))
			s.waitFor("up")
			srv.Close()
			_ = p.Close() // It may be in a plain terminal.
		} else {
			plain++
			typeLine(t, p, "exit 9")
			requireExit(t, p, 9)
		}
		m.requireNone(t, patience)
		there.requireNothingLeft(t)
	}
	require.NotZero(t, sessions)
	require.NotZero(t, plain)
}

// TestDiskThatFillsUp: a session's keeper is lost after the disk has become full.
func TestDiskThatFillsUp(t *testing.T) {
	t.Parallel()
	there := newElsewhere(t, "size=64k")
	srv, execer := handlerServer(t, &wsep.Handler{Execer: there})
	m := newMark(t)
	c := m.on(bash("1"))
	c.Env = append(c.Env, "TMPDIR=/tmp")
	p, s := startScreen(t, execer, c)
	shell := s.ask(p, "$$")
	there.run(t, "head -c 1000000 /dev/zero >/tmp/full 2>/dev/null || :")
	there.run(t, "kill -KILL $(cat /tmp/wsep-*/keeper)")
	require.Equal(t, shell, s.ask(p, "$$"))
	typeLine(t, p, "exit 9")
	requireExit(t, p, 9)
	requireSessions(t, srv, 0)
	m.requireNone(t, patience)
	there.requireNothingLeft(t)
}
