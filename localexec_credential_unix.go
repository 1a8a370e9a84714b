//go:build !windows

package wsep

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/xerrors"
)

// credential returns the credential for running a process as the user and the group, and the user's variables. A nil
// credential means this process's own user and group.
func credential(uid, gid uint32) (*syscall.Credential, []string, error) {
	self, selfGroup := uint32(os.Getuid()), uint32(os.Getgid())
	switch {
	case uid == 0 && gid == 0:
		return nil, nil, nil
	case uid == 0 && self == 0:
		// 0 is the zero value. A caller that sets only a group does not ask for root.
		return nil, nil, xerrors.Errorf("GID %d without UID would run as root: %w", gid, ErrInvalidCommand)
	case uid == 0:
		uid = self
	}
	if uid == self && (gid == 0 || gid == selfGroup) {
		return nil, nil, nil
	}
	account, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if _, unknown := errors.AsType[user.UnknownUserIdError](err); unknown {
		if gid == 0 {
			return nil, nil, xerrors.Errorf("user %d is unknown, so its group is too, set GID: %w", uid, ErrInvalidCommand)
		}
		// An unknown user has no name, no home and no further groups.
		id := strconv.FormatUint(uint64(uid), 10)
		return &syscall.Credential{Uid: uid, Gid: gid}, []string{"HOME=/", "USER=" + id, "LOGNAME=" + id}, nil
	}
	if err != nil {
		return nil, nil, xerrors.Errorf("look up user %d: %w", uid, err)
	}
	return accountCredential(account, uid, gid)
}

// accountCredential is credential for a known user.
func accountCredential(account *user.User, uid, gid uint32) (*syscall.Credential, []string, error) {
	if gid == 0 {
		primary, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return nil, nil, xerrors.Errorf("group of user %d: %w", uid, err)
		}
		gid = uint32(primary)
	}
	ids, err := account.GroupIds()
	if err != nil {
		return nil, nil, xerrors.Errorf("groups of user %d: %w", uid, err)
	}
	var groups []uint32
	for _, id := range ids {
		g, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, nil, xerrors.Errorf("groups of user %d: %w", uid, err)
		}
		groups = append(groups, uint32(g))
	}
	env := []string{"HOME=" + account.HomeDir, "USER=" + account.Username, "LOGNAME=" + account.Username}
	return &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}, env, nil
}
