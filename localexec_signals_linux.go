package wsep

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// signalMask is the set of signals that a thread blocks.
type signalMask unix.Sigset_t

// threadMask returns the mask of the caller's thread. The caller has locked itself to the thread.
func threadMask() (mask signalMask) {
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, nil, (*unix.Sigset_t)(&mask)) // It fails only for bad arguments.
	return mask
}

// blocked returns the signals in the mask.
func (m signalMask) blocked() (signals []os.Signal) {
	const bits = int(unsafe.Sizeof(m.Val[0])) * 8
	if m == (signalMask{}) {
		return nil
	}
	for n := range maxSignal {
		if m.Val[n/bits]>>(n%bits)&1 != 0 {
			signals = append(signals, syscall.Signal(n+1))
		}
	}
	return signals
}

// lift unblocks all signals of the thread.
func (m signalMask) lift() {
	if m != (signalMask{}) {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
	}
}

// restore sets the thread's mask again.
func (m signalMask) restore() {
	if m != (signalMask{}) {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, (*unix.Sigset_t)(&m), nil)
	}
}

// systemIgnores returns which signals this process ignores. known is false if the system does not say.
func systemIgnores() (ignored signalSet, known bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(status), "\nSigIgn:\t")
	hex, _, _ := strings.Cut(rest, "\n")
	bits, err := strconv.ParseUint(hex, 16, 64)
	return signalSet(bits), err == nil
}
