//go:build unix

package main

import (
	"context"
	"io"
	"os"

	"cdr.dev/wsep"
)

// panickingMain is the client with a command whose output panics after the first line of input.
func panickingMain() {
	ctx, leave := context.WithCancelCause(context.Background())
	c := &client{execer: panickingExecer{}, ctx: ctx, leave: leave, notice: new(notice)}
	err := c.tty(wsep.Command{TTY: true})
	report(err)
	os.Exit(exitCode(err))
}

type panickingExecer struct{}

func (panickingExecer) Start(context.Context, wsep.Command) (wsep.Process, error) {
	typed, stdin := io.Pipe()
	return panickingProcess{typed: typed, stdin: stdin}, nil
}

type panickingProcess struct {
	wsep.Process
	typed io.Reader
	stdin io.WriteCloser
}

func (p panickingProcess) Stdin() io.WriteCloser { return p.stdin }
func (p panickingProcess) Stdout() io.Reader     { return panickingOutput{p.typed} }
func (p panickingProcess) Stderr() io.Reader     { return panickingOutput{p.typed} }

type panickingOutput struct{ typed io.Reader }

func (p panickingOutput) Read(b []byte) (int, error) {
	_, _ = p.typed.Read(b)
	panic("what a test does not forgive")
}
