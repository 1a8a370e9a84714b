// Package peerlog makes text from a peer safe to log: short, on one line, without control characters, and at a bounded
// rate.
package peerlog

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cdr.dev/slog"
)

const (
	maxText    = 1 << 10  // bytes of a field
	maxMessage = 16 << 10 // bytes of a message, which may be a stack trace
)

// Logger returns a logger that passes entries on to l. It escapes characters that are not printable in messages,
// strings and errors, as [Text] does. errors.Is and errors.As work on the errors as before.
func Logger(l slog.Logger) slog.Logger {
	return slog.Make(sink{l}).Leveled(slog.LevelDebug) // l decides on the level.
}

type sink struct{ logger slog.Logger }

// LogEntry implements slog.Sink.
func (s sink) LogEntry(ctx context.Context, e slog.SinkEntry) {
	e.Message = escape(e.Message, maxMessage)
	fields := make(slog.Map, len(e.Fields))
	for i, f := range e.Fields {
		fields[i] = slog.F(f.Name, plain(f.Value))
	}
	e.Fields = fields
	s.logger.Log(ctx, e)
}

// Sync implements slog.Sink.
func (s sink) Sync() { s.logger.Sync() }

func plain(value any) any {
	switch v := value.(type) {
	case string:
		return Text(v)
	case error:
		return &plainError{v} // It is a pointer because a sink may take a struct for data.
	}
	return value
}

// plainError is an error with a text that is safe to log.
type plainError struct{ err error }

func (e *plainError) Error() string { return Text(e.err.Error()) }
func (e *plainError) Unwrap() error { return e.err }

// Text returns s with characters that are not printable escaped as in a Go string. It is cut to 1 KiB.
func Text(s string) string { return escape(s, maxText) }

// escape is Text with a limit in bytes. It also says how many bytes are cut off.
func escape(s string, limit int) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+n]
		if r == utf8.RuneError && n == 1 || !strconv.IsPrint(r) {
			piece = strconv.Quote(piece)
			piece = piece[1 : len(piece)-1]
		}
		if b.Len()+len(piece) > limit {
			return b.String() + "... (" + strconv.Itoa(len(s)-i) + " bytes more)"
		}
		b.WriteString(piece)
		i += n
	}
	return b.String()
}

const (
	burst    = 10
	interval = time.Minute
)

// Ration bounds how often an event that a peer can cause at will is logged: ten times, and then once a minute. Its zero
// value is ready to use. It is safe for concurrent use.
type Ration struct {
	mu      sync.Mutex // guards what follows
	taken   int
	skipped int
	last    time.Time
}

// Take reports whether to log an event. skipped is how many events were not logged since the last one that was.
func (r *Ration) Take() (ok bool, skipped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken >= burst && time.Since(r.last) < interval {
		r.skipped++
		return false, 0
	}
	skipped = r.skipped
	r.taken, r.skipped, r.last = r.taken+1, 0, time.Now()
	return true, skipped
}
