package peerlog_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog"
	"cdr.dev/slog/sloggers/sloghuman"
	"cdr.dev/slog/sloggers/slogjson"
	"github.com/stretchr/testify/require"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/peerlog"
)

func TestText(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{`C:\Program "x"`, `C:\Program "x"`},
		{"/no\x1b[31m\nline\r\t\x00\x7f", `/no\x1b[31m\nline\r\t\x00\x7f`},
		{"\u009b31m \u202egnp.exe \u2028 \ufeff", `\u009b31m \u202egnp.exe \u2028 \ufeff`},
		{"äöü 漢字 🙂", "äöü 漢字 🙂"},
		{"\xff\xc3", `\xff\xc3`},
		{"\ufffd", "\ufffd"},
		{strings.Repeat("x", 1<<10), strings.Repeat("x", 1<<10)},
		{strings.Repeat("x", 64_000), strings.Repeat("x", 1<<10) + "... (62976 bytes more)"},
		{strings.Repeat("\x1b", 300), strings.Repeat(`\x1b`, 256) + "... (44 bytes more)"},
	} {
		require.Equal(t, tc.want, peerlog.Text(tc.in))
		if len(tc.want) <= 1<<10 {
			require.Equal(t, tc.want, peerlog.Text(tc.want), "twice is as once")
		}
	}
}

func TestLogger(t *testing.T) {
	const bad = "evil\x1b[31m\nline\u009b"
	err := xerrors.Errorf("open %s: %w", bad, fs.ErrNotExist)
	for name, sink := range map[string]func(*strings.Builder) slog.Sink{
		"human": func(b *strings.Builder) slog.Sink { return sloghuman.Sink(b) },
		"json":  func(b *strings.Builder) slog.Sink { return slogjson.Sink(b) },
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			l := peerlog.Logger(slog.Make(sink(&b)).Leveled(slog.LevelDebug).Named("name"))
			l.Debug(context.Background(), "message "+bad, slog.F("string", bad), slog.Error(err), slog.F("number", 1))
			l.Info(context.Background(), "none", slog.Error(nil))
			require.Equal(t, 2, strings.Count(b.String(), "\n"), b.String())
			require.NotContains(t, b.String(), "\x1b")
			require.NotContains(t, b.String(), "\u009b")
			require.Equal(t, 3, strings.Count(b.String(), "evil"), b.String())
			for _, want := range []string{"file does not exist", "number", "name"} {
				require.Contains(t, b.String(), want)
			}
		})
	}
}

func TestLoggerKeepsWhatAnErrorIs(t *testing.T) {
	var r records
	l := peerlog.Logger(slog.Make(&r))
	l.Debug(context.Background(), "below the level of the logger")
	l.Info(context.Background(), "gone", slog.Error(xerrors.Errorf("read: %w", context.Canceled)))
	require.Len(t, r, 1)
	require.Contains(t, r[0].Func, "TestLogger", "where it was logged")
	err, ok := r[0].Fields[0].Value.(error)
	require.True(t, ok)
	require.True(t, errors.Is(err, context.Canceled))
}

func TestRation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r peerlog.Ration
		for range 10 {
			ok, skipped := r.Take()
			require.True(t, ok)
			require.Zero(t, skipped)
		}
		for range 3 {
			for range 1000 {
				ok, _ := r.Take()
				require.False(t, ok)
			}
			time.Sleep(time.Minute)
			ok, skipped := r.Take()
			require.True(t, ok)
			require.Equal(t, 1000, skipped)
		}
	})
}

// records keeps the entries of a log.
type records []slog.SinkEntry

func (r *records) LogEntry(_ context.Context, e slog.SinkEntry) { *r = append(*r, e) }

func (r *records) Sync() {}
