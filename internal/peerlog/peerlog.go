// Package peerlog makes what comes from a peer fit for a log: on one line, without a character that a terminal would obey,
// short, and not too often.
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

// Logger returns a logger that passes on to l what it is told. In messages, strings and errors all that is not printable is
// escaped, as Text does. An error keeps its identity: errors.Is and errors.As find what they found before.
func Logger(l slog.Logger) slog.Logger {
	return slog.Make(sink{l}).Leveled(slog.LevelDebug) // The level is l's affair.
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
		return &plainError{v} // A sink may take a struct for data.
	}
	return value
}

// plainError is an error whose text is fit for a log.
type plainError struct{ err error }

func (e *plainError) Error() string { return Text(e.err.Error()) }
func (e *plainError) Unwrap() error { return e.err }

// Text returns s with everything escaped, as in a Go string, that is not printable. It is cut to 1 KiB.
func Text(s string) string { return escape(s, maxText) }

// escape is Text for a limit. It writes at most that, and a word about what is missing.
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

// Ration bounds how often is logged what a peer can cause at will: ten times, and then once a minute. Its zero value is
// ready to use. It is safe for concurrent use.
type Ration struct {
	mu      sync.Mutex // guards what follows
	taken   int
	skipped int
	last    time.Time
}

// Take reports whether something is to be logged, and how many times before it was not.
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
