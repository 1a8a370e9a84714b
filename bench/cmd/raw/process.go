package main

import (
	"context"
	"errors"
	"io"
	"strings"
)

// process makes a connection look like a process.
type process struct {
	ctx     context.Context
	conn    conn
	message io.Reader // nil between messages
	end     error     // why there are no more messages
}

func (p *process) Pid() int                                     { return 0 }
func (p *process) Stdin() io.WriteCloser                        { return stdin{p} }
func (p *process) Stdout() io.Reader                            { return p }
func (p *process) Stderr() io.Reader                            { return strings.NewReader("") }
func (p *process) Resize(context.Context, uint16, uint16) error { return errors.ErrUnsupported }
func (p *process) Close() error                                 { return nil }

// Wait waits until the server has closed the connection.
func (p *process) Wait() error {
	_, err := io.Copy(io.Discard, p)
	return errors.Join(err, p.conn.Close())
}

// Read reads the messages' bytes.
func (p *process) Read(b []byte) (int, error) {
	for {
		if p.end != nil {
			return 0, p.end
		}
		if p.message == nil {
			p.message, p.end = p.conn.Reader(p.ctx)
			continue
		}
		n, err := p.message.Read(b)
		if err == io.EOF {
			p.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

type stdin struct{ p *process }

func (s stdin) Write(b []byte) (int, error) {
	if err := s.p.conn.Write(s.p.ctx, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close sends the empty message that ends the input.
func (s stdin) Close() error { return s.p.conn.Write(s.p.ctx, nil) }
