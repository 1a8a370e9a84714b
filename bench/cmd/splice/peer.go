package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/url"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// backends accepts the connections of backends.
type backends struct{ listener net.Listener }

func listen() (*backends, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	return &backends{listener}, err
}

func (b *backends) url() string { return "ws://" + b.listener.Addr().String() }

// accept waits for the next connection. Only one client dials at a time, so the connection is that client's.
func (b *backends) accept() (net.Conn, error) {
	conn, err := b.listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, err := ws.Upgrade(conn); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("accept handshake: %w", err)
	}
	return conn, nil
}

// pair is a client and its backend, connected to each other.
type pair struct {
	client, backend net.Conn
	prefix          []byte // the beginning of all messages of the client, in both directions
}

func (p pair) close() {
	_ = p.client.Close()
	_ = p.backend.Close()
}

// connector makes pairs.
type connector func(ctx context.Context) (pair, error)

// direct connects clients straight to backends.
func (b *backends) direct(ctx context.Context) (pair, error) {
	return b.meet(func() (net.Conn, []byte, error) {
		conn, err := dial(ctx, b.url())
		return conn, nil, err
	})
}

// through returns a connector that has wsplice between each client and its backend.
func (b *backends) through(s *splice) connector {
	return func(ctx context.Context) (pair, error) {
		conn, err := dial(ctx, s.url)
		if err != nil {
			return pair{}, err
		}
		p, err := b.channel(conn)
		if err != nil {
			_ = conn.Close()
		}
		return p, err
	}
}

// relayed returns a connector that has the relay between each client and its backend.
func (b *backends) relayed(r *relay) connector {
	return func(ctx context.Context) (pair, error) {
		return b.meet(func() (net.Conn, []byte, error) {
			conn, err := dial(ctx, "ws://"+r.addr)
			return conn, nil, err
		})
	}
}

// channel opens a channel to a backend. The pair's client is the connection to wsplice, which may carry other channels.
func (b *backends) channel(conn net.Conn) (pair, error) {
	return b.meet(func() (net.Conn, []byte, error) {
		prefix, err := openChannel(conn, b.url())
		return conn, prefix, err
	})
}

// meet lets a client dial while a backend waits for it.
func (b *backends) meet(dial func() (net.Conn, []byte, error)) (pair, error) {
	type accepted struct {
		conn net.Conn
		err  error
	}
	backend := make(chan accepted, 1)
	// Ends when the client has connected. If it can't connect, the benchmark fails, and this ends with the process.
	go func() {
		conn, err := b.accept()
		backend <- accepted{conn, err}
	}()
	conn, prefix, err := dial()
	if err != nil {
		return pair{}, err
	}
	a := <-backend
	return pair{conn, a.conn, prefix}, a.err
}

func dial(ctx context.Context, rawURL string) (net.Conn, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	if _, _, err := (ws.Dialer{}).Upgrade(conn, u); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("handshake with %s: %w", rawURL, err)
	}
	return conn, nil
}

// controlIndex is the channel for requests.
var controlIndex = []byte{0xff, 0xff}

// openChannel has wsplice connect to the URL and returns the index of the channel.
func openChannel(conn net.Conn, url string) (index []byte, err error) {
	request := fmt.Appendf(controlIndex[:2:2], `{"id":1,"type":"method","method":"connect","params":{"url":%q}}`, url)
	if err := wsutil.WriteClientBinary(conn, request); err != nil {
		return nil, err
	}
	frame, err := ws.ReadFrame(conn)
	if err != nil {
		return nil, err
	}
	var reply struct{ Result *struct{ Index uint16 } }
	if err := json.Unmarshal(bytes.TrimPrefix(frame.Payload, controlIndex), &reply); err != nil {
		return nil, fmt.Errorf("reply %q: %w", frame.Payload, err)
	}
	if reply.Result == nil {
		return nil, fmt.Errorf("connect was refused: %q", frame.Payload)
	}
	return binary.BigEndian.AppendUint16(nil, reply.Result.Index), nil
}
