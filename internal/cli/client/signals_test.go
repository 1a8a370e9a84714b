package client

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// TestPass tests processes that take no signals. The scripts test processes that do.
func TestPass(t *testing.T) {
	for _, tc := range []struct {
		name    string
		process interface {
			wsep.Process
			wasClosed() bool
		}
		closed bool
	}{
		{"process without signals", &closeProcess{}, true},
		{"peer without signals", &signalProcess{err: xerrors.Errorf("old: %w", errors.ErrUnsupported)}, true},
		{"signal arrives", &signalProcess{}, false},
		{"connection fails", &signalProcess{err: wsep.ErrDisconnected}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &client{ctx: t.Context()}
			c.pass(tc.process, syscall.SIGINT)
			require.Equal(t, tc.closed, tc.process.wasClosed())
			if s, ok := tc.process.(*signalProcess); ok {
				require.Equal(t, "INT", s.got)
			}
		})
	}
}

type closeProcess struct {
	wsep.Process
	closed bool
}

func (p *closeProcess) Close() error {
	p.closed = true
	return nil
}

func (p *closeProcess) wasClosed() bool { return p.closed }

type signalProcess struct {
	closeProcess
	err error
	got string
}

func (p *signalProcess) Signal(_ context.Context, signal string) error {
	p.got = signal
	return p.err
}
