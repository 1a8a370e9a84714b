//go:build !windows

package coderws_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/coderws"
)

// TestWithHandlerAndDialer connects each end to an end of package wsep.
func TestWithHandlerAndDialer(t *testing.T) {
	own := httptest.NewServer(handler(wsep.NewServer()))
	defer own.Close()
	wseps := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}})
	defer wseps.Close()
	for name, execer := range map[string]wsep.Execer{
		"Dialer":  wsep.Dialer{URL: own.URL},
		"Handler": dialer(wseps.URL),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := execer.Start(t.Context(), wsep.Command{Command: "echo", Args: []string{"hello"}})
			require.NoError(t, err)
			out, err := io.ReadAll(p.Stdout())
			require.NoError(t, err)
			require.Equal(t, "hello\n", string(out))
			require.NoError(t, p.Wait())
		})
	}
}

func Example() {
	server := httptest.NewServer(handler(wsep.NewServer()))
	defer server.Close()

	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := coderws.RemoteExecer(conn).Start(ctx, wsep.Command{Command: "echo", Args: []string{"hello"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, _ := io.ReadAll(p.Stdout())
	fmt.Printf("%s%v\n", out, p.Wait())
	// Output:
	// hello
	// <nil>
}

// handler accepts connections of coder/websocket, and runs commands on this machine.
func handler(srv *wsep.Server) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		err = coderws.Serve(r.Context(), srv, conn, wsep.LocalExecer{}, nil)
		code, reason := wsep.CloseStatus(err)
		_ = conn.Close(websocket.StatusCode(code), reason)
	}
}

// dialer is an Execer that dials for each command.
type dialer string

// Start implements wsep.Execer.
func (url dialer) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	conn, _, err := websocket.Dial(ctx, string(url), nil)
	if err != nil {
		return nil, err
	}
	p, err := coderws.RemoteExecer(conn).Start(ctx, c)
	if err != nil {
		_ = conn.CloseNow()
	}
	return p, err
}
