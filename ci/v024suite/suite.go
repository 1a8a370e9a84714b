// Package v024suite is where the tests of the published wsep v0.2.4 are built against this version: see TestSuiteOfV024 of
// package wsep, which brings them here. Until then it names what they import.
package v024suite

import (
	_ "cdr.dev/slog/sloggers/slogtest/assert"
	_ "github.com/google/uuid"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/xerrors"
	_ "nhooyr.io/websocket"

	_ "cdr.dev/wsep"
)
