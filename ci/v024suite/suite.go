// Package v024suite builds the tests of the published wsep v0.2.4 against this version. TestSuiteOfV024 of package wsep does
// that. The package itself only imports the tests' dependencies.
package v024suite

import (
	_ "cdr.dev/slog/sloggers/slogtest/assert"
	_ "github.com/google/uuid"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/xerrors"
	_ "nhooyr.io/websocket"

	_ "cdr.dev/wsep"
)
