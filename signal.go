package wsep

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/xerrors"
)

// signals are the signals of POSIX (signal.h), and those that Linux and the BSDs add (signal(7), signal(3)).
var signals = strings.Fields(`
	ABRT ALRM BUS CHLD CONT FPE HUP ILL INT KILL PIPE QUIT SEGV STOP TERM TSTP TTIN TTOU USR1 USR2 WINCH SYS TRAP URG VTALRM
	XCPU XFSZ PROF POLL
	CLD IO IOT PWR STKFLT
	EMT INFO LIBRT LWP THR
`)

// checkSignal returns an error for a name that is no signal on any system. It is for a process on another machine.
func checkSignal(signal string) error {
	if slices.Contains(signals, signal) {
		return nil
	}
	return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
}

// signalProcess sends a signal to a process, if it is a Signaler.
func signalProcess(ctx context.Context, p Process, signal string) error {
	s, ok := processAs[Signaler](p)
	if !ok {
		return xerrors.Errorf("signal %s: %w", signal, errors.ErrUnsupported)
	}
	return s.Signal(ctx, signal)
}
