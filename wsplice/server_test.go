package wsplice

import (
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestMessagesPass(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	remote := backend(t, echo)
	require.Equal(t, 0, p.connect(remote))
	require.Equal(t, 1, p.connect(remote))
	for _, n := range []int{0, 1, 2, 123, 124, 125, 126, 127, 3000, 65533, 65534, 65535, 65536, 1 << 20} {
		for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			for index := range 2 {
				message := strings.Repeat("x", n)
				p.send(index, kind, message)
				i, k, m := p.receive()
				require.Equal(t, index, i)
				require.Equal(t, kind, k)
				require.True(t, message == m, "%d bytes", n)
			}
		}
	}
}
