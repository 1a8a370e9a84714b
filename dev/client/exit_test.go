package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/wsconn"
)

// TestExitCode covers what no process of this machine does. The scripts cover the rest.
func TestExitCode(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want int
	}{
		{"larger than the system's", wsep.NewExitError(256, "exit status 256"), 255},
		{"a Windows status", wsep.NewExitError(0xC0000005, "access violation"), 255},
		{"a signal that a peer does not name", wsep.NewExitError(-1, "signal: killed"), 255},
		{"no exit code", xerrors.New("an execer's own"), 255},
		{"a chain broken at the start", &wsep.StartError{Err: wsep.ErrDisconnected}, 255},
		{"a handshake that is refused", &wsep.StartError{Err: &wsconn.StatusError{Status: 401}}, 255},
		{"a connection that timed out by itself", fmt.Errorf("%w: %w", wsep.ErrDisconnected,
			context.DeadlineExceeded), 255},
		{"a code, and trouble afterwards", errors.Join(wsep.NewExitError(3, "exit status 3"), errLeft), 3},
	} {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, exitCode(tc.err)) })
	}
}
