package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/dev/internal/serve"
)

// connect returns an Execer for the options. It tells n about its connection. disconnect ends the servers and connections
// that connect has started.
func connect(o options, n *notice) (execer wsep.Execer, disconnect func() error, err error) {
	if o.embedded {
		return embed()
	}
	resume := o.resume
	if resume == 0 {
		resume = -1 // To a Dialer 0 is the default.
	}
	return wsep.Dialer{
		URL: o.url, Header: o.header, HTTPClient: httpClient(o.roots), Resume: resume, OnConnection: n.connection,
	}, func() error { return nil }, nil
}

// httpClient returns a client that trusts the authorities. nil means the default.
func httpClient(roots *x509.CertPool) *http.Client {
	if roots == nil {
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	return &http.Client{Transport: transport}
}

// embed starts a server inside this program. Other programs of this machine can reach it, but do not know its token.
func embed() (execer wsep.Execer, disconnect func() error, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, xerrors.Errorf("embed server: %w", err)
	}
	token := rand.Text()
	sessions := wsep.NewServer()
	handler := &wsep.Handler{Execer: wsep.LocalExecer{}, Server: sessions, Authorize: serve.Authorize(token)}
	server := serve.Start(listener, handler, sessions, slog.Logger{})
	header := http.Header{"Authorization": {serve.Bearer(token)}}
	return wsep.Dialer{URL: server.URL(), Header: header}, server.Close, nil
}
