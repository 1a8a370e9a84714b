package client

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// TestNoticeIsShownOnceAndWiped: whatever happens until the connection is back, the user sees one line, and then none.
func TestNoticeIsShownOnceAndWiped(t *testing.T) {
	var n notice
	n.connection(wsep.ConnectionEvent{State: wsep.ConnectionLost}) // There is no terminal yet.
	var shown bytes.Buffer
	redrawn := 0
	n.begin(&shown, func() { redrawn++ })
	for range 2 {
		shown.Reset()
		n.connection(wsep.ConnectionEvent{State: wsep.ConnectionLost})
		n.connection(wsep.ConnectionEvent{State: wsep.ConnectionRetrying})
		n.connection(wsep.ConnectionEvent{State: wsep.ConnectionRetrying})
		require.Equal(t, 1, bytes.Count(shown.Bytes(), []byte("connection lost")))
		shown.Reset()
		n.connection(wsep.ConnectionEvent{State: wsep.ConnectionBack})
		require.Equal(t, onLastLine+back, shown.String())
	}
	require.Equal(t, 2, redrawn)
	n.connection(wsep.ConnectionEvent{State: wsep.ConnectionBack})
	require.Equal(t, 2, redrawn)
}
