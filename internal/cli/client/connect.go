package client

import (
	"crypto/rand"
	"net"
	"net/http"

	"cdr.dev/slog"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/serve"
)

// connect returns an Execer for the options. It tells n about its connection. disconnect ends the servers and connections
// that connect has started.
func connect(o Options, n *notice) (execer wsep.Execer, disconnect func() error, err error) {
	if o.Embedded {
		return embed()
	}
	dialer := o.Server.Dialer()
	dialer.OnConnection = n.connection
	return dialer, func() error { return nil }, nil
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
	server := serve.Start(serve.Listener{Listener: listener}, handler, sessions, slog.Logger{})
	header := http.Header{"Authorization": {serve.Bearer(token)}}
	return wsep.Dialer{URL: server.URL(), Header: header}, server.Close, nil
}
