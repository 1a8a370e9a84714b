package wsplice

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws/wsutil"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gobwas/ws"
)

// backends are echo servers of three libraries.
var backends = map[string]http.HandlerFunc{
	"gorilla": func(w http.ResponseWriter, r *http.Request) {
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		echo(c)
	},
	"coder": func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(1 << 21)
		for {
			kind, p, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, p) != nil {
				return
			}
		}
	},
	"gobwas": func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		for {
			p, op, err := wsutil.ReadClientData(c)
			if err != nil || wsutil.WriteServerMessage(c, op, p) != nil {
				return
			}
		}
	},
}

func TestBackendsOfThreeLibraries(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	for name, handler := range backends {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			index := p.connect(toWS(server.URL))
			for _, n := range []int{0, 5, 125, 126, 4096, 65535, 65536, 1 << 20} {
				p.send(index, websocket.TextMessage, strings.Repeat("t", n))
				p.expect(index, strings.Repeat("t", n))
			}
			p.command(`{"id":1,"method":"terminate","params":{"index":0,"code":1000}}`)
			p.expectControl(`{"id":1,"type":"reply","result":{}}`)
		})
	}
}

// TestNode has Node's WebSocket as the client. Browsers have the same interface.
func TestNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	args := []string{"testdata/client.js"}
	if exec.Command(node, "-e", "WebSocket").Run() != nil {
		args = []string{"--experimental-websocket", args[0]}
		if exec.Command(node, args[0], "-e", "WebSocket").Run() != nil {
			t.Skip("this version of node has no WebSocket")
		}
	}
	_, url := testServer(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, append(args, url, backend(t, echo))...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "Warning") && !strings.Contains(line, "--trace-warnings") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	require.Equal(t, []string{
		`65535 {"id":42,"type":"reply","result":{"index":0}}`,
		`0 hello`,
		`65535 {"id":43,"type":"reply","result":{}}`,
		`closed 1000`,
	}, lines)
}
