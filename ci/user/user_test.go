// Package user uses package wsep like a program that was written for v0.2.4. It builds with the versions that wsep requires.
package user

import (
	"context"
	"testing"
	"time"

	"cdr.dev/slog"
	"cdr.dev/slog/sloggers/slogtest"
	"cdr.dev/wsep"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"
)

// These have the same types as in v0.2.4.
var (
	_ func(*websocket.Conn) wsep.Execer                                                      = wsep.RemoteExecer
	_ func(context.Context, *websocket.Conn, wsep.Execer, *wsep.Options) error               = wsep.Serve //lint:ignore SA1019 v0.2.4 has it.
	_ func(*wsep.Server, context.Context, *websocket.Conn, wsep.Execer, *wsep.Options) error = (*wsep.Server).Serve
)

// info is a helper like those of many programs' tests. From slog v1.6 on it does not compile: slogtest takes no slice of fields.
func info(t *testing.T, message string, fields ...slog.Field) { slogtest.Info(t, message, fields...) }

func TestKeys(t *testing.T) {
	names := map[wsep.Execer]string{wsep.LocalExecer{}: "local"}
	require.Equal(t, "local", names[wsep.LocalExecer{}])
	info(t, "as a key", slog.F("execer", names[wsep.LocalExecer{}]))

	options := map[any]bool{wsep.Options{SessionTimeout: time.Minute}: true}
	require.True(t, options[wsep.Options{SessionTimeout: time.Minute}])
	require.False(t, options[wsep.Options{}])
}
