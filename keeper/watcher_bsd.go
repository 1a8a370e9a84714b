//go:build darwin || freebsd

package keeper

import "golang.org/x/sys/unix"

// leaveInherited makes the descriptors that this process was given end with it, except the first four.
func leaveInherited() {
	for fd := readyFD + 1; fd < 1024; fd++ {
		unix.CloseOnExec(fd)
	}
}

// watch starts the keeper. These systems have no parent for what a killed keeper leaves behind.
func (s settings) watch() error {
	_, err := s.become(roleKeeper, nil)
	return err
}
