package leaktest

import (
	"bytes"
	"io"
	"os"
	"sync/atomic"
)

// panicked says that a handler of an http.Server has panicked.
var panicked atomic.Bool

// OnlyPanics writes the panics of handlers to stderr, and nothing else. It is for the log of a test's http.Server. [Main] fails if there
// was a panic: the server recovers it, and only tells its log.
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
