//go:build !linux

package fleet

import "errors"

// Incarnation returns an error that matches [errors.ErrUnsupported]: nodes run on Linux.
func Incarnation(string) (string, error) { return "", errors.ErrUnsupported }
