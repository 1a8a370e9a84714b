package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"cdr.dev/wsep/bench/load"
)

// connect returns a function that has the relay start commands.
func connect(server, _ string) (load.Start, error) {
	address := strings.TrimPrefix(server, "http://")
	return func(ctx context.Context, c load.Command) (load.Process, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		p := &process{conn.(*net.TCPConn)}
		if err := p.start(address, c); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		return p, nil
	}, nil
}

// process is a command of the relay.
type process struct{ conn *net.TCPConn }

func (p *process) start(address string, c load.Command) error {
	command, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.conn, "GET /?%s HTTP/1.1\r\nHost: %s\r\n\r\n", url.QueryEscape(string(command)), address)
	if err != nil {
		return err
	}
	response := make([]byte, len(started))
	if _, err := io.ReadFull(p.conn, response); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if string(response) != started {
		return fmt.Errorf("start: %q", response)
	}
	return nil
}

func (p *process) Pid() int                                     { return 0 }
func (p *process) Stdin() io.WriteCloser                        { return stdin{p.conn} }
func (p *process) Stdout() io.Reader                            { return p.conn }
func (p *process) Stderr() io.Reader                            { return strings.NewReader("") }
func (p *process) Resize(context.Context, uint16, uint16) error { return errors.ErrUnsupported }
func (p *process) Close() error                                 { return p.conn.Close() }

// Wait waits until the relay has closed the connection.
func (p *process) Wait() error {
	_, err := io.Copy(io.Discard, p.conn)
	return err
}

type stdin struct{ *net.TCPConn }

func (s stdin) Close() error { return s.CloseWrite() }
