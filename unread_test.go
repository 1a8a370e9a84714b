//go:build !windows

package wsep

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
)

// TestClientLeavesUnreadOutput: a client has the exit and closes with unread output. The server does not wait for it.
func TestClientLeavesUnreadOutput(t *testing.T) {
	// If the server waited for the process, the test would time out.
	client, served := serveFake(t, LocalExecer{KillDelay: time.Minute}, nil)
	start, err := proto.Encode(proto.Start{
		Command:    proto.Command{Command: "head", Args: []string{"-c", "50000", "/dev/zero"}},
		Extensions: &proto.Extensions{Window: 10_000, Outcome: true},
	})
	require.NoError(t, err)
	require.NoError(t, client.Write(t.Context(), start))
	for exited := false; !exited; {
		r, err := client.Reader(t.Context())
		require.NoError(t, err)
		message, err := io.ReadAll(r)
		require.NoError(t, err)
		exited = strings.Contains(string(message), `"exit_code"`)
	}
	require.NoError(t, client.Close(statusNormal, ""))
	select {
	case err := <-served:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		require.Fail(t, "the server waits for a process that has ended")
	}
}
