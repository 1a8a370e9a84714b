//go:build darwin || freebsd

package keeper

import "golang.org/x/sys/unix"

// peerUID returns the user at the other end of a Unix socket when it was connected.
func peerUID(fd int) (uint32, error) {
	cred, err := unix.GetsockoptXucred(fd, 0, unix.LOCAL_PEERCRED) // The level is SOL_LOCAL, which is 0.
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
