//go:build !linux

package wsconn

import "syscall"

// canMove says that the system has no splice(2).
const canMove = false

// moving is for systems with splice(2).
type moving struct{}

// MoveTo moves nothing on this system.
func (b *Body) MoveTo(syscall.RawConn) (int, error) {
	_ = b.moving
	return 0, nil
}
