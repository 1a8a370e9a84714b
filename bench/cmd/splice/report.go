package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cdr.dev/wsep/bench/internal/machine"
)

// report is all that is known in the end.
type report struct {
	Machine  machine.Machine `json:"machine"`
	Rounds   int             `json:"rounds"`
	Measured []*measurement  `json:"measured"`
	Targets  []verdict       `json:"targets"`
}

func newReport(measured []*measurement, p plan) report {
	return report{Machine: machine.This(), Rounds: p.rounds, Measured: measured, Targets: judge(measured)}
}

func (r report) missed() (n int) {
	for _, v := range r.Targets {
		if !v.Met {
			n++
		}
	}
	return n
}

func (r report) write(dir string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(dir, "splice.json", string(data)+"\n"),
		writeFile(dir, "splice.md", r.markdown()),
	)
}

func writeFile(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

// figure returns what is judged: a ratio, or where there is nothing to compare with the median.
func (m *measurement) figure() float64 {
	if m.Direct == nil {
		return median(m.Through)
	}
	return m.ratio()
}

// markdown returns the medians and the targets as a table.
func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. Medians of rounds: %d.\n\n", r.Machine, r.Rounds)
	b.WriteString("| work | clients | payload, bytes | unit | direct | wsplice | ratio | target | |\n")
	b.WriteString("|---|--:|--:|---|--:|--:|--:|--:|---|\n")
	for _, m := range r.Measured {
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", descriptions[m.Kind], m.Clients, m.payload(), m.figures(),
			m.outcome())
	}
	return b.String()
}

// descriptions say what the kinds of work are.
var descriptions = map[string]string{
	string(up):   "clients to backends",
	string(down): "backends to clients",
	trip:         "message there and back",
	relayed:      "the same through a bare relay of bytes",
	idle:         "memory per idle channel",
}

func (m *measurement) payload() string {
	if m.Payload == 0 {
		return "-"
	}
	return fmt.Sprint(m.Payload)
}

func (m *measurement) figures() string {
	if m.Direct == nil {
		return fmt.Sprintf("%s | - | %.1f | -", m.Unit, median(m.Through))
	}
	return fmt.Sprintf("%s | %.0f | %.0f | %.2f", m.Unit, median(m.Direct), median(m.Through), m.ratio())
}

func (m *measurement) outcome() string {
	t, ok := targetOf(m.work)
	if !ok {
		return "- | "
	}
	v := t.judge(m.figure())
	return v.bound() + " | " + v.word()
}
