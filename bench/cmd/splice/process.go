package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// programs are the paths of the programs that are measured.
type programs struct{ splice, relay string }

// build builds cmd/relay of this module and, if no other wsplice was given, cmd/wsplice of the repository.
func (p *programs) build(ctx context.Context, dir, binaries string) error {
	p.relay = filepath.Join(binaries, "relay")
	if err := build(ctx, dir, p.relay, "./cmd/relay"); err != nil || p.splice != "" {
		return err
	}
	p.splice = filepath.Join(binaries, "wsplice")
	return build(ctx, filepath.Join(dir, ".."), p.splice, "./cmd/wsplice")
}

func build(ctx context.Context, dir, program, source string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", dir, "-o", program, source)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return nil
}

// relay is a running cmd/relay.
type relay struct {
	cmd  *exec.Cmd
	addr string
}

func startRelay(program, to string) (*relay, error) {
	r := &relay{cmd: exec.Command(program, to)}
	r.cmd.Stderr = os.Stderr
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		r.stop()
		return nil, fmt.Errorf("relay's address: %w", err)
	}
	r.addr = strings.TrimSpace(line)
	return r, nil
}

func (r *relay) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// splice is a running wsplice.
type splice struct {
	cmd *exec.Cmd
	log bytes.Buffer // to be read only after the process has exited
	url string
}

// stopTimeout is how long wsplice has to exit.
const stopTimeout = 20 * time.Second

func startSplice(program string) (*splice, error) {
	cmd := exec.Command(program, "--listen=127.0.0.1:0", "--allowed-hostnames=127.0.0.1")
	s := &splice{cmd: cmd}
	cmd.Stderr = &s.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, s.stop(fmt.Errorf("wsplice's URL: %w", err))
	}
	s.url = strings.TrimPrefix(strings.TrimSpace(line), "listening on ")
	return s, nil
}

// stop ends wsplice. If there is an error, from before or from wsplice's exit, it returns the error with wsplice's log.
func (s *splice) stop(before error) error {
	kill := time.AfterFunc(stopTimeout, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_ = s.cmd.Process.Signal(os.Interrupt) // Wait returns how it exited.
	if err := errors.Join(before, s.cmd.Wait()); err != nil {
		return fmt.Errorf("%w\nwsplice's log:\n%s", err, s.log.Bytes())
	}
	return nil
}

// resident returns wsplice's resident memory in KiB.
func (s *splice) resident() (kib float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if _, err := fmt.Sscanf(string(line), "VmRSS: %f kB", &kib); err == nil {
			return kib, nil
		}
	}
	return 0, errors.New("no VmRSS in the status of wsplice")
}
