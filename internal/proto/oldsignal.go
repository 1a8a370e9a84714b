package proto

import "strings"

// A server without the extension outcome writes a signal into exit_code's error, and nowhere else: the text of Go's
// os.ProcessState, in which Go's syscall package names the signal.

const (
	oldSignalPrefix = "signal: "
	coreDumped      = " (core dumped)"
)

// oldSignals are the signals that end a process, by Go's names for them on Linux and, where those differ, on macOS and the
// BSDs (syscall, zerrors_*.go).
var oldSignals = map[string]string{
	"hangup":                   "HUP",
	"interrupt":                "INT",
	"quit":                     "QUIT",
	"illegal instruction":      "ILL",
	"trace/breakpoint trap":    "TRAP",
	"trace/BPT trap":           "TRAP",
	"aborted":                  "ABRT",
	"abort trap":               "ABRT",
	"EMT trap":                 "EMT",
	"bus error":                "BUS",
	"floating point exception": "FPE",
	"killed":                   "KILL",
	"user defined signal 1":    "USR1",
	"segmentation fault":       "SEGV",
	"user defined signal 2":    "USR2",
	"broken pipe":              "PIPE",
	"alarm clock":              "ALRM",
	"terminated":               "TERM",
	"stack fault":              "STKFLT",
	"CPU time limit exceeded":  "XCPU",
	"cputime limit exceeded":   "XCPU",
	"file size limit exceeded": "XFSZ",
	"filesize limit exceeded":  "XFSZ",
	"virtual timer expired":    "VTALRM",
	"profiling timer expired":  "PROF",
	"I/O possible":             "IO",
	"power failure":            "PWR",
	"bad system call":          "SYS",
}

// OldSignal returns the name, without SIG, of the signal that ended a command, as a server without the extension outcome
// tells it. It is empty if none did, or one that is not known.
func OldSignal(m ExitCode) string {
	text, ok := strings.CutPrefix(m.Error, oldSignalPrefix)
	if !ok || m.ExitCode != -1 {
		return ""
	}
	return oldSignals[strings.TrimSuffix(text, coreDumped)]
}
