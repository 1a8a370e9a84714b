//go:build linux || darwin || freebsd

package keeper

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/xerrors"
)

// A keeper's directory holds one socket for each build whose keeper lives, keeper-BUILD, and the file lock. Who starts a keeper,
// and a keeper that ends, holds a lock on that file.

// dir is the absolute path of a directory that was checked.
type dir string

// openDir checks the directory, or makes it.
func openDir(path string) (dir, error) {
	if path == "" {
		return "", xerrors.New("keeper has no directory")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return "", err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	return dir(path), checkDir(path, info)
}

// checkDir returns an error if another user can reach what is in the directory.
func checkDir(path string, info fs.FileInfo) error {
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.IsDir():
		return xerrors.Errorf("%s is no directory: %w", path, fs.ErrPermission)
	case int(owner) != os.Geteuid():
		return xerrors.Errorf("%s belongs to user %d: %w", path, owner, fs.ErrPermission)
	case info.Mode().Perm() != 0o700:
		return xerrors.Errorf("%s has mode %#o, want 0700: %w", path, info.Mode().Perm(), fs.ErrPermission)
	}
	return nil
}

const socketPrefix = "keeper-"

// socket returns the path of a build's socket.
func (d dir) socket(build string) string { return filepath.Join(string(d), socketPrefix+build) }

// sockets returns the sockets of keepers that live.
func (d dir) sockets(ctx context.Context) (found []string, err error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), socketPrefix) {
			continue
		}
		path := filepath.Join(string(d), entry.Name())
		lives, err := listens(ctx, path)
		if err != nil {
			return nil, err
		}
		if lives {
			found = append(found, path)
		}
	}
	return found, nil
}

// lock waits for the directory's lock. The file must be closed.
func (d dir) lock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(string(d), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			_ = f.Close()
			return nil, xerrors.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		}
	}
}

// lockPause is how long to wait before a lock is tried again. It is held while a keeper starts.
const lockPause = 10 * time.Millisecond
