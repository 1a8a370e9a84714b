package wsep

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// signalMask is what a thread blocks.
type signalMask unix.Sigset_t

// threadMask returns the mask of the thread that the caller is locked to.
func threadMask() (mask signalMask) {
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, nil, (*unix.Sigset_t)(&mask)) // It fails for bad arguments alone.
	return mask
}

// blocked returns the signals of the mask.
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

// lift has the thread block nothing.
func (m signalMask) lift() {
	if m != (signalMask{}) {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
	}
}

// restore has the thread block the mask again.
func (m signalMask) restore() {
	if m != (signalMask{}) {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, (*unix.Sigset_t)(&m), nil)
	}
}

// systemIgnores returns which signals this process ignores, if the system says so.
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
