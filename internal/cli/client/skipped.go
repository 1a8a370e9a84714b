package client

import (
	"fmt"
	"os"

	"cdr.dev/wsep"
)

// Skipped returns a function that says how many bytes of each output were no longer kept.
func Skipped(p wsep.Process) func() (stdout, stderr int64) {
	if s, ok := p.(wsep.Skipper); ok {
		return s.Skipped
	}
	return func() (stdout, stderr int64) { return 0, 0 }
}

// ReportSkipped says what is missing of the outputs.
func ReportSkipped(program string, p wsep.Process) {
	stdout, stderr := Skipped(p)()
	if stdout > 0 {
		fmt.Fprintf(os.Stderr, "%s: %d bytes of stdout are missing: they were no longer kept\n", program, stdout)
	}
	if stderr > 0 {
		fmt.Fprintf(os.Stderr, "%s: %d bytes of stderr are missing: they were no longer kept\n", program, stderr)
	}
}
