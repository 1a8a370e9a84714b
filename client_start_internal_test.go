package wsep

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// TestStartAfterItsContext: nothing is sent if Start's context has ended before.
func TestStartAfterItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			conn := &scriptConn{}
			_, err := RemoteExecerConn(conn).Start(ctx, Command{Command: "true"})
			require.ErrorIs(t, err, context.Canceled)
			synctest.Wait()
			require.Empty(t, conn.sent)
		})
	}
}
