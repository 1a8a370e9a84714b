package leaktest

import (
	"bytes"
	"io"
	"os"
	"sync/atomic"
)

// panicked says that a handler of an http.Server has panicked.
var panicked atomic.Bool

// OnlyPanics writes the panics of handlers to stderr, and nothing else. It is for the log of a test's http.Server. A server recovers a
// panic, and tells its log alone. [Main] then fails.
var OnlyPanics io.Writer = panicWatch{io.Discard}

// panicWatch passes everything on, and looks for panics.
type panicWatch struct{ next io.Writer }

func (w panicWatch) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("http: panic serving")) {
		panicked.Store(true)
		return os.Stderr.Write(p)
	}
	return w.next.Write(p)
}
