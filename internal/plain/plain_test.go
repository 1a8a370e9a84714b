package plain

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/wsconn"
)

func TestConnection(t *testing.T) {
	answering := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "a\x1b[31mline", status)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	secured.Config.ErrorLog = log.New(leaktest.OnlyPanics, "", 0)
	secured.StartTLS()
	defer secured.Close()
	trusted := secured.Client().Transport.(*http.Transport).TLSClientConfig
	otherName := trusted.Clone()
	otherName.ServerName = "other.test"
	later := trusted.Clone()
	later.Time = func() time.Time { return time.Now().AddDate(1000, 0, 0) }
	for want, err := range map[string]error{
		"the server refused the token (401), or wants one":                                       dial(t, answering(401), nil),
		"the server refused this client (403)":                                                   dial(t, answering(403), nil),
		"the server is busy (503)":                                                               dial(t, answering(503), nil),
		`no server for this client is there: the answer has status 404 and says "a\x1b[31mline"`: dial(t, answering(404), nil),
		"no server for this client is there: the answer has status 400":                          fmt.Errorf("dial: %w", ws.StatusError(400)),
		"nothing listens at 127.0.0.1:1":                                                         dial(t, "ws://127.0.0.1:1", nil),
		"the server's certificate is from an authority that is not trusted here":                 dial(t, secured.URL, nil),
		"the server does not speak TLS there":                                                    dial(t, strings.Replace(answering(200), "http:", "wss:", 1), nil),
		"the server's certificate is for another name":                                           dial(t, secured.URL, otherName),
		"the server's certificate has expired or is not valid yet":                               dial(t, secured.URL, later),
		"the server refused this client's certificate, or wants one (tls: certificate required)": &net.OpError{
			Op: "remote error", Err: errors.New("tls: certificate required")},
		`there is no host "a.test"`: &net.DNSError{Name: "a.test", IsNotFound: true},
		"192.0.2.1:80 does not answer": &net.OpError{
			Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}, Err: context.DeadlineExceeded},
		"connection lost: the server was shut down, or gave the connection up": fmt.Errorf("lost: %w", closed{code: 1001}),
		`the server closed the connection (1008): "too much"`:                  closed{1008, "too much"},
	} {
		words, ok := Connection(fmt.Errorf("wrapped: %w", err))
		require.True(t, ok, "%v", err)
		require.Equal(t, want, words, "%v", err)
	}
	_, ok := Connection(errors.New("something else"))
	require.False(t, ok)
}

func TestListening(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	address := taken.Addr().String()
	_, err = net.Listen("tcp", address)
	require.EqualError(t, Listening(address, err), address+" is in use by another program")
	require.ErrorIs(t, Listening(address, err), err)
	_, err = net.Listen("tcp", "192.0.2.1:0")
	require.True(t, strings.HasSuffix(Listening("192.0.2.1:0", err).Error(), "is no address of this machine"), "%v", err)
}

// closed is an error with a close frame's code.
type closed struct {
	code   int
	reason string
}

func (c closed) Error() string { return "of a library" }

func (c closed) CloseStatus() (int, string) { return c.code, c.reason }

// dial returns the error of a connection to the URL.
func dial(t *testing.T, url string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	_, err := wsconn.Dial(ctx, url, nil, nil, client)
	require.Error(t, err)
	return err
}
