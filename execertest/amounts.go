package execertest

import (
	"os"
	"runtime"
)

// These say how much the lines do. Under Wine a start takes a fifth of a second of a processor, so that they do less on Windows.
var (
	// repetitions is how often a line runs what depends on a race.
	repetitions = amount(200, 20, 2)
	// crowd is how many processes run at once.
	crowd = amount(20, 20, 5)
	// bigSize is in bytes. It is more than all buffers on the way hold: pipes of 1 MiB, which are 64 KiB on Windows, and windows.
	bigSize = amount(16<<20, 16<<20, 4<<20)
	// typedLines is how many lines are typed. A console of Wine takes ten characters in a millisecond.
	typedLines = amount(5000, 5000, 500)
)

// amount returns the first number where WSEP_LONG_TESTS is set, and else the usual one or that for Windows.
func amount(long, usual, windows int) int {
	switch {
	case os.Getenv("WSEP_LONG_TESTS") != "":
		return long
	case runtime.GOOS == "windows":
		return windows
	}
	return usual
}
