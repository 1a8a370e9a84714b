package main

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"

	"cdr.dev/wsep/bench/load"
)

// connect returns a function that starts a client with the configuration for each command.
func connect(config, _ string) (load.Start, error) {
	return func(ctx context.Context, c load.Command) (load.Process, error) {
		p := &process{cmd: exec.CommandContext(ctx, "ssh", "-F", config, "bench", shellCommand(c))}
		if err := p.start(c.Stdin); err != nil {
			return nil, err
		}
		return p, nil
	}, nil
}

// shellCommand quotes a command for the shell that sshd runs. The shell prints an empty line before it starts the command.
func shellCommand(c load.Command) string {
	words := []string{"echo && exec"}
	for _, word := range append([]string{c.Name}, c.Args...) {
		words = append(words, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return strings.Join(words, " ")
}

// process is an ssh client.
type process struct {
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr io.Reader
}

func (p *process) start(stdin bool) (err error) {
	if stdin {
		if p.stdin, err = p.cmd.StdinPipe(); err != nil {
			return err
		}
	}
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		return err
	}
	if p.stderr, err = p.cmd.StderrPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	// As in wsep, Start returns when the command runs.
	_, err = io.ReadFull(p.stdout, make([]byte, len("\n")))
	return err
}

func (p *process) Pid() int              { return p.cmd.Process.Pid }
func (p *process) Stdin() io.WriteCloser { return p.stdin }
func (p *process) Stdout() io.Reader     { return p.stdout }
func (p *process) Stderr() io.Reader     { return p.stderr }
func (p *process) Wait() error           { return p.cmd.Wait() }

func (p *process) Resize(context.Context, uint16, uint16) error { return errors.ErrUnsupported }

// Close kills the client if it has not exited.
func (p *process) Close() error {
	if p.cmd.ProcessState != nil {
		return nil
	}
	return p.cmd.Process.Kill()
}
