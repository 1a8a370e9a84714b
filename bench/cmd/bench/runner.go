package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cdr.dev/wsep/bench/internal/report"
	"cdr.dev/wsep/bench/load"
)

// runner measures the contenders.
type runner struct {
	binaries string // the folder of the programs
	rounds   int
	flags    []string // of the clients
}

const (
	// workTimeout bounds a work.
	workTimeout = 5 * time.Minute
	// stopTimeout is how long a server has to end.
	stopTimeout = 20 * time.Second
)

// measurement has a contender's figures for a work.
type measurement struct {
	Contender string    `json:"contender"`
	Work      string    `json:"work"`
	Unit      string    `json:"unit"`
	Median    float64   `json:"median"`
	Values    []float64 `json:"values"`
}

// measure lets the contenders do each work in turn, so that other programs on the machine affect all of them alike.
func (r runner) measure(ctx context.Context, contenders []contender) (measured []*measurement, err error) {
	for round := range r.rounds {
		for _, work := range all {
			log.Printf("round %d of %d: %s", round+1, r.rounds, work)
			for range max(1, turns[work]) {
				if measured, err = r.turn(ctx, measured, contenders, work); err != nil {
					return nil, err
				}
			}
		}
	}
	return measured, nil
}

// turns is how often the contenders do a work in a round, if not once. A work that takes microseconds mostly waits for a core to
// wake up. The time for that can double from one moment to the next.
var turns = map[string]int{"rtt": 5, "start": 3, "again": 3}

// turn lets each of the contenders do a work.
func (r runner) turn(ctx context.Context, measured []*measurement, contenders []contender, work string) ([]*measurement, error) {
	for _, c := range contenders {
		if !slices.Contains(c.works, work) {
			continue
		}
		result, err := r.once(ctx, c, work)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.name, work, err)
		}
		measured = record(measured, c, result)
	}
	return measured, nil
}

func record(measured []*measurement, c contender, result load.Result) []*measurement {
	m := find(measured, c.name, result.Work)
	if m == nil {
		m = &measurement{Contender: c.name, Work: result.Work, Unit: result.Unit}
		measured = append(measured, m)
	}
	m.Values = append(m.Values, result.Value)
	m.Median = report.Median(m.Values)
	return measured
}

// find returns a contender's measurement of a kind of work. It returns nil if the contender did not do the work.
func find(measured []*measurement, contender, work string) *measurement {
	for _, m := range measured {
		if m.Contender == contender && m.Work == work {
			return m
		}
	}
	return nil
}

// once does a work with a new server and a new client.
func (r runner) once(ctx context.Context, c contender, work string) (result load.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	program := c.program
	if !filepath.IsAbs(program) {
		program = filepath.Join(r.binaries, program)
	}
	s, err := startServer(program)
	if err != nil {
		return load.Result{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	args := slices.Concat([]string{"client", "-url", s.url, "-over", c.over}, r.flags, []string{work})
	client := exec.CommandContext(ctx, program, args...)
	client.Stderr = os.Stderr
	line, err := client.Output()
	if err != nil {
		return load.Result{}, fmt.Errorf("client: %w", err)
	}
	err = json.Unmarshal(line, &result)
	return result, err
}

// server is a running server.
type server struct {
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
}

func startServer(program string) (*server, error) {
	cmd := exec.Command(program, "server")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, stdin: stdin}
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("server's URL: %w", err), s.stop())
	}
	s.url = strings.TrimSpace(url)
	return s, nil
}

// stop lets the server end.
func (s *server) stop() error {
	kill := time.AfterFunc(stopTimeout, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	if err := errors.Join(s.stdin.Close(), s.cmd.Wait()); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}
