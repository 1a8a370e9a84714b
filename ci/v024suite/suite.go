// Package v024suite is for the tests of the published wsep v0.2.4. TestSuiteOfV024 of package wsep builds them here against
// this version. The package itself only imports their dependencies.
package v024suite

import (
	_ "cdr.dev/slog/sloggers/slogtest/assert"
	_ "github.com/google/uuid"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/xerrors"
	_ "nhooyr.io/websocket"

	_ "cdr.dev/wsep"
)
