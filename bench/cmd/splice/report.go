package main

import (
	"fmt"
	"strings"

	"cdr.dev/wsep/bench/internal/machine"
	"cdr.dev/wsep/bench/internal/report"
)

// results is the report, with everything that was measured.
type results struct {
	Machine  machine.Machine `json:"machine"`
	Rounds   int             `json:"rounds"`
	Measured []*measurement  `json:"measured"`
	Targets  []verdict       `json:"targets"`
}

func newReport(measured []*measurement, p plan) results {
	return results{Machine: machine.This(), Rounds: p.rounds, Measured: measured, Targets: judge(measured)}
}

// conclude prints and writes the report.
func (r results) conclude(o report.Output) error {
	data, err := report.JSON("splice.json", r)
	if err != nil {
		return err
	}
	text := r.markdown()
	return report.Conclude(o, text, r.Targets, report.File{Name: "splice.md", Text: text}, data)
}

// figure returns the figure to judge: a ratio, or the median if there is nothing to compare with.
func (m *measurement) figure() float64 {
	if m.Direct == nil {
		return report.Median(m.Through)
	}
	return m.ratio()
}

// markdown returns the medians and the targets as a table.
func (r results) markdown() string {
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

// descriptions describe the kinds of work.
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
		return fmt.Sprintf("%s | - | %.1f | -", m.Unit, report.Median(m.Through))
	}
	return fmt.Sprintf("%s | %.0f | %.0f | %.2f", m.Unit, report.Median(m.Direct), report.Median(m.Through), m.ratio())
}

func (m *measurement) outcome() string {
	bound, ok := targetOf(m.work)
	if !ok {
		return "- | "
	}
	return bound.String() + " | " + bound.Judge(m.figure()).Word()
}
