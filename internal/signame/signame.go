// Package signame lists the names of signals, as in "TERM".
package signame

import (
	"slices"
	"strings"
)

// names are the signals of POSIX (signal.h), and those that Linux and the BSDs add (signal(7), signal(3)).
var names = strings.Fields(`
	ABRT ALRM BUS CHLD CONT FPE HUP ILL INT KILL PIPE QUIT SEGV STOP TERM TSTP TTIN TTOU USR1 USR2 WINCH SYS TRAP URG VTALRM
	XCPU XFSZ PROF POLL
	CLD IO IOT PWR STKFLT
	EMT INFO LIBRT LWP THR
`)

// Known reports whether some system has a signal of that name. It takes the name in upper case, without SIG.
func Known(name string) bool { return slices.Contains(names, name) }
