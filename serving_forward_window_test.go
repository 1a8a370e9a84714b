//go:build linux

package wsep_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// TestFullWindowsThroughGateway: a gateway writes more slowly than it reads. So it holds a whole window, and the other end
// acknowledges the first bytes of a message while the gateway still writes the last ones.
func TestFullWindowsThroughGateway(t *testing.T) {
	t.Parallel()
	for range often(1, 30) {
		execer := narrowGateway(t, serveCut(t, &wsep.Handler{}))
		p, err := execer.Start(t.Context(), wsep.Command{Command: "sh", Args: []string{"-c", "exec cat >/dev/null"}, Stdin: true})
		require.NoError(t, err)
		_, err = io.Copy(p.Stdin(), bytes.NewReader(make([]byte, manyWindows)))
		require.NoError(t, err)
		require.NoError(t, p.Stdin().Close())
		require.NoError(t, p.Wait())

		p, err = execer.Start(t.Context(), wsep.Command{Command: "head", Args: []string{"-c", strconv.Itoa(manyWindows), "/dev/zero"}})
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, p.Stdout())
		require.NoError(t, err)
		require.NoError(t, p.Wait())
	}
}

const (
	// manyWindows is the size of a stream, in bytes.
	manyWindows = 8 << 20
	// narrow is how many bytes the system holds for a connection, about.
	narrow = 4 << 10
)

// narrowGateway returns an Execer over a gateway that can write little to its connections before the other end reads.
func narrowGateway(t *testing.T, far string) wsep.Dialer {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetWriteBuffer(narrow)
		}
		return conn, err
	}}}
	web := httptest.NewUnstartedServer(&wsep.Handler{Execer: wsep.Dialer{URL: far, HTTPClient: client}})
	web.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		_ = conn.(*net.TCPConn).SetWriteBuffer(narrow)
		return ctx
	}
	web.Start()
	t.Cleanup(web.Close)
	return wsep.Dialer{URL: web.URL}
}
