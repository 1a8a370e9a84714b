//go:build !windows

package sshexec

import (
	"testing"

	"cdr.dev/wsep"
	"cdr.dev/wsep/execertest"
	"cdr.dev/wsep/internal/sshtest"
)

func TestContract(t *testing.T) {
	server := sshtest.Start(t)
	execertest.Test(t, func(t *testing.T) wsep.Execer { return New(server.Dial(t)) }, nil)
}
