package fleet

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/xerrors"
)

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// Incarnation returns the incarnation of a node whose keeper lives in a directory, and makes the directory if need be. It stays the
// same until the machine boots, or the directory goes. A copy of the directory has another one.
func Incarnation(dir string) (string, error) {
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		return "", xerrors.Errorf("boot ID: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	nonce, inode, err := nonceOf(filepath.Join(dir, "incarnation"))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", strings.TrimSpace(string(boot)), nonce, inode))
	return hex.EncodeToString(sum[:8]), nil
}

// nonceOf returns a file's content and inode. If the file is missing, nonceOf makes it. No reader sees it incomplete.
func nonceOf(path string) (nonce string, inode uint64, err error) {
	draft, err := os.CreateTemp(filepath.Dir(path), "incarnation-")
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(draft.Name())
	_, err = draft.WriteString(rand.Text())
	if err := errors.Join(err, draft.Close()); err != nil {
		return "", 0, err
	}
	if err := os.Link(draft.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	text, err := os.ReadFile(path)
	return string(text), info.Sys().(*syscall.Stat_t).Ino, err
}
