package wsep

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/xerrors"
)

// signals are those that some system knows: POSIX's (signal.h), and what Linux and the BSDs have beyond (signal(7),
// signal(3)).
var signals = strings.Fields(`
	ABRT ALRM BUS CHLD CONT FPE HUP ILL INT KILL PIPE QUIT SEGV STOP TERM TSTP TTIN TTOU USR1 USR2 WINCH SYS TRAP URG VTALRM
	XCPU XFSZ PROF POLL
	CLD IO IOT PWR STKFLT
	EMT INFO LIBRT LWP THR
`)

// checkSignal refuses what is no signal anywhere, for a process whose own machine is not asked.
func checkSignal(signal string) error {
	if slices.Contains(signals, signal) {
		return nil
	}
	return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
}

// signalProcess sends a signal to a process, if it takes any.
func signalProcess(ctx context.Context, p Process, signal string) error {
	s, ok := processAs[Signaler](p)
	if !ok {
		return xerrors.Errorf("signal %s: %w", signal, errors.ErrUnsupported)
	}
	return s.Signal(ctx, signal)
}
