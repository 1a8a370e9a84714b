//go:build !linux

package readiness

import "errors"

// When is for Linux.
func When(int, func()) (hurry func(), err error) { return nil, errors.ErrUnsupported }
