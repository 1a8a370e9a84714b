//go:build unix

package main

import (
	"context"
	"io"
	"os"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/client"
)

// panickingMain is the client with a command whose output panics after the first line of input.
func panickingMain() {
	o := client.Options{Program: "client", Command: wsep.Command{TTY: true}}
	os.Exit(client.RunOver(o, panickingExecer{}))
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
