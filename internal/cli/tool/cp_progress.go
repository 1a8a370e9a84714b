package tool

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress counts the bytes that are written to it, and shows them on a terminal. One goroutine at a time writes.
type progress struct {
	terminal io.Writer // nil if nothing is shown
	began    time.Time
	shown    time.Time
	bytes    int64
}

// progressInterval is how often the line is drawn.
const progressInterval = 200 * time.Millisecond

func newProgress(stderr io.Writer, quiet bool) *progress {
	p := &progress{began: time.Now(), shown: time.Now()}
	if !quiet && isTerminal(stderr) {
		p.terminal = stderr
	}
	return p
}

// isTerminal reports whether a writer is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	if p.terminal != nil && time.Since(p.shown) > progressInterval {
		p.draw("")
	}
	return len(b), nil
}

func (p *progress) draw(end string) {
	p.shown = time.Now()
	const mega = 1e6
	rate := float64(p.bytes) / mega / max(0.001, time.Since(p.began).Seconds())
	fmt.Fprintf(p.terminal, "\r\x1b[K%.1f MB, %.1f MB/s%s", float64(p.bytes)/mega, rate, end)
}

// end leaves the last line on the terminal.
func (p *progress) end() {
	if p.terminal != nil {
		p.draw("\r\n")
	}
}
